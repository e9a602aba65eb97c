import covalent as ct


@ct.electron
def numbers():
    return [1, 2]


@ct.electron
def whole(x):
    return int(x)


@ct.lattice
def workflow():
    a, b = numbers()
    return [whole(x) for x in (a, b)]


result = ct.get_result(ct.dispatch(workflow)(), wait=True)
print(result.status, result.result)
