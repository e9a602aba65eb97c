import covalent as ct


@ct.electron
def add(a, b):
    return a + b


@ct.lattice
def sums(a, b):
    return add(a, b)


@ct.lattice
def words(a, b):
    return add(a, b)


results = [ct.get_result(ct.dispatch(one)(*args), wait=True) for one, args in ((sums, (1, 2)), (words, ("a", "b")))]
print([(result.lattice.__name__, result.result) for result in results])
