import covalent as ct


@ct.electron
def a(x):
    return x


@ct.lattice
def workflow(x):
    y = a(x)
    return [y or 5]


result = ct.get_result(ct.dispatch(workflow)([7, 8]), wait=True)
print(result.status, result.result)
