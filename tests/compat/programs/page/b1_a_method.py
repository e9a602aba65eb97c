import covalent as ct


@ct.electron
def a():
    return "text"


@ct.lattice
def workflow():
    return a().upper()


result = ct.get_result(ct.dispatch(workflow)(), wait=True)
print(result.status, result.result)
