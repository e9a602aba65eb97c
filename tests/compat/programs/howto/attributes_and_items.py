import covalent as ct


class Point:
    def __init__(self, x, y):
        self.x, self.y = x, y


@ct.electron
def make(x, y):
    return Point(x, y)


@ct.electron
def table():
    return {"a": [1, 2, 3], "b": {"c": "deep"}}


@ct.lattice
def workflow(x):
    point = make(x, 5)
    found = table()
    return point.x + point.y, found["a"][1], found["b"]["c"]


result = ct.get_result(ct.dispatch(workflow)(2), wait=True)
print(result.status, result.result)
