import covalent as ct


@ct.electron
def task(x):
    return x


@ct.lattice
def workflow(x):
    return task(x)


dispatch_id = ct.dispatch(workflow, disable_run=True)(1)
result = ct.get_result(dispatch_id)
print(result.status, bool(result.status), result.result)
print({str(node["status"]).split(".")[-1] for node in result.get_all_node_results() if node["node_name"] == "task"})
