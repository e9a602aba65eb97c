import covalent as ct


@ct.electron
def add(a, b):
    return a + b


add.executor = "local"
workflow = ct.lattice(add)
workflow.build_graph(1, 2)
print(workflow.transport_graph.get_node_value(0, "metadata")["executor"])
result = ct.get_result(ct.dispatch(workflow)(1, 2), wait=True)
print(result.status, result.result)
