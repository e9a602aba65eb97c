import covalent as ct


@ct.electron
def noisy(x):
    import sys

    print("to stdout")
    print("to stderr", file=sys.stderr)
    if x:
        raise ValueError(x)
    return x


@ct.lattice
def workflow(x):
    return noisy(x)


for x in (0, 1):
    node = ct.get_result(ct.dispatch(workflow)(x), wait=True).get_node_result(0)
    print(node["status"], node["stdout"].strip(), "to stderr" in node["stderr"], "ValueError" in node["stderr"])
