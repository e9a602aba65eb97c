import covalent as ct

K = 1


@ct.electron
def step():
    return 1


def helper():
    return K


@ct.electron
def reads():
    return K, helper()


@ct.lattice
def workflow():
    return step(), reads()


K = 2


@ct.electron
def step():
    return 2


result = ct.get_result(ct.dispatch(workflow)(), wait=True)
print(result.result)
