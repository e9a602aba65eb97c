import covalent as ct


@ct.electron
def one(x):
    return x


@ct.lattice
def workflow(x):
    a, b = one(x), one(x + 1)
    return a + b, a - 1, 10 - b, a * 3, 3 * a, a / 2, 12 / b, a**2, a + b * a - b / 2


result = ct.get_result(ct.dispatch(workflow)(3), wait=True)
print(result.status, result.result)
print(result.get_node_result(4)["node_name"])
