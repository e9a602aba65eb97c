import covalent as ct


@ct.electron
def a(x):
    return x


@ct.lattice
def workflow(x):
    y = a(x)
    return [list(y), tuple(y), dict(y), sorted(y), sum(y)]


result = ct.get_result(ct.dispatch(workflow)([7, 8]), wait=True)
print(result.status, result.result)
