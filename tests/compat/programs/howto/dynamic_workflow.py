import covalent as ct


@ct.electron
def sizes(n):
    return list(range(1, n + 1))


@ct.electron
def cube(x):
    return x**3


@ct.electron
@ct.lattice
def for_each(values):
    if len(values) > 3:
        return "too many"
    return [cube(value) for value in values]


@ct.lattice
def workflow(n):
    return for_each(sizes(n))


for n in (3, 5):
    result = ct.get_result(ct.dispatch(workflow)(n), wait=True)
    print(result.status, result.result)
