import covalent as ct


@ct.electron
def measure(x):
    return x


@ct.electron
def big(x):
    return f"big {x}"


@ct.electron
def small(x):
    return f"small {x}"


@ct.electron
@ct.lattice
def decide(value):
    return big(value) if value > 10 else small(value)


@ct.lattice
def workflow(x):
    return decide(measure(x))


for x in (3, 30):
    result = ct.get_result(ct.dispatch(workflow)(x), wait=True)
    print(result.status, result.result)
