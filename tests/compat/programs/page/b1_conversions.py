import covalent as ct


@ct.electron
def a(x):
    return x


@ct.lattice
def workflow(x):
    y = a(x)
    return [int(y), float(y), str(complex(y))]


result = ct.get_result(ct.dispatch(workflow)([7, 8]), wait=True)
print(result.status, result.result)
