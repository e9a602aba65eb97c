import covalent as ct


@ct.electron
def who():
    context = ct.get_context()
    return context.dispatch_id, context.task_id


@ct.lattice
def workflow():
    return who(), who()


dispatch_id = ct.dispatch(workflow)()
first, second = ct.get_result(dispatch_id, wait=True).result
print(first[0] == second[0] == dispatch_id, first[1], second[1], ct.get_context().dispatch_id)
