import covalent as ct


@ct.electron
def fails(x):
    return {}[x]


@ct.electron
def beside(x):
    return x


@ct.electron
def after(x):
    return x


@ct.lattice
def workflow(x):
    return after(fails(x)), beside(x)


result = ct.get_result(ct.dispatch(workflow)("missing"), wait=True)
print(result.status, result.result, "fails" in result.error)
by_name = {node["node_name"]: node for node in result.get_all_node_results()}
print(by_name["fails"]["status"], by_name["beside"]["status"], by_name["after"]["status"])
print(
    "KeyError" in (by_name["fails"]["stderr"] or ""),
    by_name["fails"]["output"],
    by_name["beside"]["output"].get_deserialized(),
)
