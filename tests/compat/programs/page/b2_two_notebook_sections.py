import covalent as ct


@ct.electron
def task(x):
    return x + 1


@ct.lattice
def workflow(x):
    return task(x)


first = workflow


@ct.electron
def task(x):
    return x * 100


@ct.lattice
def workflow(x):
    return task(x)


print([ct.get_result(ct.dispatch(one)(2), wait=True).result for one in (first, workflow)])
print(first(2), workflow(2))
