import covalent as ct


@ct.electron
def add(x, y):
    return x + y


@ct.lattice
def workflow(x):
    once = add(x, x)
    twice = add(once, y=once)
    return once + twice, twice + twice


result = ct.get_result(ct.dispatch(workflow)(2), wait=True)
print(result.status, result.result)
