import covalent as ct


@ct.electron(deps_bash=["true", "exit 3"])
def never():
    return 1


@ct.electron
def after(x):
    return x


@ct.lattice
def workflow():
    return after(never())


result = ct.get_result(ct.dispatch(workflow)(), wait=True)
print(result.status, result.result)
print(result.get_node_result(0)["status"], result.get_node_result(1)["node_name"])
