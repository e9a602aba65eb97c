import covalent as ct


@ct.electron
def task(x):
    return x


@ct.electron(executor="dask")
def own(x):
    return x


@ct.lattice(executor="local")
def workflow(x):
    return task(x) + own(x)


workflow.build_graph(1)
graph = workflow.transport_graph
found = {
    graph.get_node_value(node, "name"): graph.get_node_value(node, "metadata")["executor"]
    for node in graph._graph.nodes
}
print(found["task"], found["own"], workflow.metadata["executor"], workflow.metadata["workflow_executor"])
result = ct.get_result(ct.dispatch(workflow)(2), wait=True)
print(result.status, result.result)
