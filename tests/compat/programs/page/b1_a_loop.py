import covalent as ct


@ct.electron
def a():
    return [1, 2, 3]


@ct.electron
def f(i):
    return i + 1


@ct.lattice
def loop():
    e = a()
    done = []
    for i in e:
        done.append(f(i))
    return done


@ct.lattice
def comprehension():
    e = a()
    return [f(i) for i in e]


for lattice in (loop, comprehension):
    result = ct.get_result(ct.dispatch(lattice)(), wait=True)
    print(result.status, result.result)
