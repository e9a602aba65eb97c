import covalent as ct


@ct.electron
def task(x):
    return x + 1


@ct.lattice
def workflow(x):
    return task(x)


dispatch_id = ct.dispatch(workflow)(1)
ct.get_result(dispatch_id, wait=True)
less = ct.get_result(dispatch_id, workflow_output=False, intermediate_outputs=False, sublattice_results=False)
print(less.status, less.result, less.get_node_result(0)["output"])
whole = ct.get_result(dispatch_id)
print(whole.result, whole.get_node_result(0)["output"].get_deserialized(), whole.post_process())
