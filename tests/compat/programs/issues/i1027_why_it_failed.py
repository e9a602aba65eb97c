import covalent as ct


@ct.electron
def check(x):
    assert x > 0, f"x is {x}"
    return x


@ct.lattice
def workflow(x):
    return check(x)


result = ct.get_result(ct.dispatch(workflow)(-1), wait=True)
node = result.get_node_result(0)
print(result.status, node["status"], "AssertionError: x is -1" in node["stderr"], "check" in str(result))
