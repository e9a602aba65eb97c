import covalent as ct


@ct.electron
def start(x):
    return x + 1


@ct.electron
def broken(x):
    return x / 0


@ct.electron
def mended(x):
    return x / 2


@ct.lattice
def workflow(x):
    return broken(start(x))


dispatch_id = ct.dispatch(workflow)(5)
print(ct.get_result(dispatch_id, wait=True).status)
again = ct.redispatch(dispatch_id, replace_electrons={"broken": mended}, reuse_previous_results=True)()
result = ct.get_result(again, wait=True)
print(result.status, result.result)
print(
    [node["node_name"] for node in result.get_all_node_results() if node["node_name"] in ("start", "mended", "broken")]
)
