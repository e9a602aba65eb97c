import covalent as ct


@ct.electron
def a(x):
    return x


@ct.lattice
def workflow(x):
    y = a(x)
    if y == 10:
        return "ten"
    return y


@ct.lattice
def truth(x):
    y = a(x)
    if y:
        return "true", y and 5, not y, y != 3, y in [3], 3 in [y]
    return "false"


for lattice in (workflow, truth):
    result = ct.get_result(ct.dispatch(lattice)(10), wait=True)
    print(result.status, result.result)
