import covalent as ct


@ct.electron
def a(x):
    return x + 1


@ct.lattice
def workflow(x):
    return a(x)


result = ct.get_result(ct.dispatch(workflow)(1), wait=True)
print(result.status, result.status == "COMPLETED", (result.status,) == ("COMPLETED",))
node = result.get_node_result(0)
wanted = {
    "node_id",
    "node_name",
    "start_time",
    "end_time",
    "status",
    "output",
    "error",
    "sublattice_result",
    "stdout",
    "stderr",
}
print(wanted <= set(node))
print({key: node[key] for key in ("node_id", "node_name", "error", "sublattice_result")})
