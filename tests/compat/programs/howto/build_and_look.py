import covalent as ct


@ct.electron
def add(x, y):
    return x + y


@ct.lattice
def workflow(x):
    return add(x, [x, {"k": add(1, 2)}])


workflow.build_graph(7)
graph = workflow.transport_graph
print([graph.get_node_value(node, "name") for node in graph._graph.nodes])
print(
    sorted(
        (a, b, data["edge_name"])
        for a, b, data in graph._graph.edges(data=True)
        if data["edge_name"] != "!waiting_edge"
    )
)
print(graph.get_dependencies(0), workflow.inputs.get_deserialized(), workflow.__name__)
print(graph.get_node_value(1, "value").get_deserialized(), "def add" in graph.get_node_value(0, "function_string"))
