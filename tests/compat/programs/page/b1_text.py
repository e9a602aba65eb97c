import covalent as ct


@ct.electron
def a():
    return "text"


@ct.lattice
def workflow():
    return f"{a()}"


result = ct.get_result(ct.dispatch(workflow)(), wait=True)
print(result.status, type(result.result).__name__, "text" == result.result)
