import covalent as ct


@ct.electron
def fails():
    raise RuntimeError("below")


@ct.electron
@ct.lattice
def below():
    return fails()


@ct.electron
def after(x):
    return x


@ct.lattice
def workflow():
    return after(below())


result = ct.get_result(ct.dispatch(workflow)(), wait=True)
print(result.status, result.result)
node = next(node for node in result.get_all_node_results() if node["node_name"].startswith(":sublattice:"))
inner = node["sublattice_result"]
print(node["status"], inner.status, "RuntimeError" in inner.get_node_result(0)["stderr"])
