import covalent as ct


@ct.electron
def task(x):
    return x * x


@ct.electron
@ct.lattice
def inherits(x):
    return task(x)


@ct.electron
@ct.lattice(executor="dask")
def has_its_own(x):
    return task(x)


@ct.lattice(executor="local")
def workflow(x):
    return inherits(x), has_its_own(x)


result = ct.get_result(ct.dispatch(workflow)(5), wait=True)
print(result.status, result.result)
for node in result.get_all_node_results():
    if node["node_name"].startswith(":sublattice:"):
        below = node["sublattice_result"]
        executors = below.lattice.transport_graph.get_node_value(0, "metadata")["executor"]
        print(node["node_name"], executors)
