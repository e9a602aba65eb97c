import covalent as ct


@ct.electron
def identity(x):
    return x


@ct.lattice
def workflow(a, *rest, key=1, **more):
    return identity(a), [identity(x) for x in rest], key, more


dispatch_id = ct.dispatch(workflow)(1, 2, 3, key=4, other=5)
print(len(dispatch_id), type(dispatch_id).__name__ != "int")
result = ct.get_result(dispatch_id, wait=True)
print(result.status, result.result, result.dispatch_id == dispatch_id)
print(result.inputs.get_deserialized())
