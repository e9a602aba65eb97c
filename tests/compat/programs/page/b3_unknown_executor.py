import covalent as ct


@ct.electron(executor="nonexistent")
def a():
    return 1


@ct.electron
def b():
    return 2


@ct.lattice
def workflow():
    return a(), b()


result = ct.get_result(ct.dispatch(workflow)(), wait=True)
print(result.status, result.result)
node = result.get_node_result(0)
print(node["node_name"], node["status"], "nonexistent" in (node["error"] or ""))
other = result.get_node_result(1)
print(other["node_name"], other["status"], other["output"].get_deserialized())
