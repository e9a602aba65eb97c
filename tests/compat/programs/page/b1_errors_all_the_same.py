import covalent as ct


@ct.electron
def a():
    return [1, 2]


def starred(y):
    first, *rest = y
    return first


for body in (lambda y: y < 1, len, lambda y: max(y, 1), lambda y: -y, lambda y: y % 2, lambda y: y // 2, starred):

    @ct.lattice
    def workflow():
        return body(a())

    try:
        ct.dispatch(workflow)()
        print("dispatched")
    except (TypeError, ValueError):
        print("refused")
