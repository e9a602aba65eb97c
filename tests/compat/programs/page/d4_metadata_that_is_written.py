import covalent as ct


@ct.electron
def e(x):
    return x


@ct.electron
def f(x):
    return x


e.electron_object.metadata["executor"] = "local"
print(e.electron_object.metadata["executor"], e.electron_object.get_metadata("executor"))
f.electron_object.set_metadata("executor", "local")
print(f.electron_object.metadata["executor"])


@ct.lattice
def workflow(x):
    return e(x), f(x)


workflow.metadata["executor"] = "local"
workflow.metadata["workflow_executor"] = "local"
print(workflow.metadata["executor"], workflow.get_metadata("executor"), workflow.metadata["workflow_executor"])
workflow.build_graph(1)
for node in (0, 2):
    print(workflow.transport_graph.get_node_value(node, "metadata")["executor"])
