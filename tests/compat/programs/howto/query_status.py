import covalent as ct


@ct.electron
def task(x):
    return x


@ct.lattice
def workflow(x):
    return task(x)


dispatch_id = ct.dispatch(workflow)(3)
result = ct.get_result(dispatch_id, wait=True)
print(ct.get_result(dispatch_id, status_only=True)["status"] == "COMPLETED")
print(sorted(ct.get_result(dispatch_id, status_only=True)))
print(
    result.status == ct.status.COMPLETED,
    result.status == "COMPLETED",
    bool(result.status),
    ct.status.is_terminal(result.status),
)
print(result.get_node_result(0)["status"], result.get_node_result(1)["node_name"], result.get_node_result(1)["status"])
print(result.end_time >= result.start_time, result.start_time.tzinfo is not None)
