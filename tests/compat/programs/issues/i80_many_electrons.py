import covalent as ct


@ct.electron
def inc(x):
    return x + 1


@ct.electron
def total(values):
    return sum(values)


@ct.lattice
def workflow(n):
    return total([inc(i) for i in range(n)])


result = ct.get_result(ct.dispatch(workflow)(12), wait=True)
print(result.status, result.result, len(result.get_all_node_results()))
