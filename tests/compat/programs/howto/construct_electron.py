import covalent as ct


@ct.electron
def cube(x):
    """Cube of a number."""
    return x**3


@ct.electron()
def half(x, by=2):
    return x / by


print(cube(3), half(9), half(9, by=3), cube.__name__, cube.__doc__)


@ct.lattice
def workflow(x):
    return half(cube(x))


print(workflow(4))
result = ct.get_result(ct.dispatch(workflow)(4), wait=True)
print(result.status, result.result)
