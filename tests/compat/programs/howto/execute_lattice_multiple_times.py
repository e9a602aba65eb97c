import covalent as ct


@ct.electron
def square(x):
    return x * x


@ct.lattice
def workflow(x):
    return square(x)


ids = [ct.dispatch(workflow)(x) for x in range(5)]
print(len(set(ids)))
print([ct.get_result(one, wait=True).result for one in ids])
