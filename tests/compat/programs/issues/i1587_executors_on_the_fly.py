import covalent as ct


@ct.electron
def add(a, b):
    return a + b


add.electron_object.executor = "local"
workflow = ct.lattice(add)
workflow.build_graph(1, 2)
print(workflow.transport_graph.get_node_value(0, "metadata")["executor"])
add.electron_object.executor = ct.executor.DaskExecutor(workdir="here")
other = ct.lattice(add)
other.build_graph(1, 2)
metadata = other.transport_graph.get_node_value(0, "metadata")
print(metadata["executor"], metadata["executor_data"]["attributes"]["workdir"])
result = ct.get_result(ct.dispatch(workflow)(1, 2), wait=True)
print(result.status, result.result)
