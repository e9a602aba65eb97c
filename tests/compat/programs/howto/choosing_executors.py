import covalent as ct


@ct.electron(executor="local")
def on_local(x):
    return x + 1


@ct.electron(executor=ct.executor.DaskExecutor())
def on_dask(x):
    return x * 2


@ct.electron
def default(x):
    return x


@ct.lattice(executor="local", workflow_executor="dask")
def workflow(x):
    return default(on_dask(on_local(x)))


result = ct.get_result(ct.dispatch(workflow)(1), wait=True)
print(result.status, result.result)
graph = result.lattice.transport_graph
for node in range(3):
    if not graph.get_node_value(node, "name").startswith(":"):
        print(graph.get_node_value(node, "name"), graph.get_node_value(node, "metadata")["executor"])
