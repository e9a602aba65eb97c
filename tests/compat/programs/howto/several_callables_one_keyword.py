import covalent as ct


def value(x):
    return x


@ct.electron(
    call_before=[
        ct.DepsCall(value, args=[1], retval_keyword="several"),
        ct.DepsCall(value, args=[2], retval_keyword="several"),
        ct.DepsCall(value, args=["alone"], retval_keyword="single"),
        ct.DepsCall(value, args=["dropped"]),
    ]
)
def task(x, several=None, single=None):
    return x, several, single


@ct.lattice
def workflow(x):
    return task(x)


result = ct.get_result(ct.dispatch(workflow)(0), wait=True)
print(result.status, result.result)
