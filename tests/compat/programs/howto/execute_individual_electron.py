import covalent as ct


@ct.lattice
@ct.electron
def task(x, y=2):
    return x * y


for args, kwargs in (((3,), {}), ((3, 5), {}), ((), {"x": 1, "y": 7})):
    result = ct.get_result(ct.dispatch(task)(*args, **kwargs), wait=True)
    print(result.status, result.result)
