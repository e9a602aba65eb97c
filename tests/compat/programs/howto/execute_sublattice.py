import covalent as ct


@ct.electron
def add(a, b):
    return a + b


@ct.electron
@ct.lattice
def below(x, n):
    total = x
    for _ in range(n):
        total = add(total, 1)
    return total


@ct.lattice
def workflow(x):
    return add(below(x, n=3), 10)


result = ct.get_result(ct.dispatch(workflow)(1), wait=True)
print(result.status, result.result)
node = next(node for node in result.get_all_node_results() if node["node_name"].startswith(":sublattice:"))
print(node["node_name"], node["status"], node["sublattice_result"].result, node["sublattice_result"].status)
print(node["sublattice_result"].root_dispatch_id == result.dispatch_id)
