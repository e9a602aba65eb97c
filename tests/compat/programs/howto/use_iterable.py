import covalent as ct


@ct.electron
def stats(values):
    return min(values), max(values), {"mean": sum(values) / len(values)}


@ct.electron
def spread(low, high):
    return high - low


@ct.lattice
def workflow(values):
    low, high, more = stats(values)
    return spread(low, high), more["mean"], stats(values)[0:2]


result = ct.get_result(ct.dispatch(workflow)([3, 9, 6]), wait=True)
print(result.status, result.result)
