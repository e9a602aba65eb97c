import covalent as ct


@ct.electron
def task(a, /, b, *args, c=3, **kwargs):
    return a, b, args, c, sorted(kwargs.items())


@ct.lattice
def workflow():
    return task(1, 2), task(1, b=2, c=5), task(1, 2, 4, 6, c=7, d=8)


result = ct.get_result(ct.dispatch(workflow)(), wait=True)
print(result.status, result.result)
try:
    ct.dispatch(ct.lattice(lambda: task(1, 2, nothing=1, b=2)))()
    print("dispatched")
except (TypeError, ValueError):
    print("refused")
