import covalent as ct


@ct.electron
def first(a, b):
    return a + b


@ct.electron
def second(a, b):
    return a / b


@ct.electron
def second_again(a, b):
    return a * b


@ct.lattice
def workflow(a, b):
    return second(first(a, b), b)


dispatch_id = ct.dispatch(workflow)(1, 2)
print(ct.get_result(dispatch_id, wait=True).result)
replaced = ct.redispatch(dispatch_id, replace_electrons={"second": second_again})()
print(ct.get_result(replaced, wait=True).result, replaced != dispatch_id)
reused = ct.redispatch(dispatch_id, replace_electrons={"second": second_again}, reuse_previous_results=True)()
result = ct.get_result(reused, wait=True)
node = next(node for node in result.get_all_node_results() if node["node_name"] == "first")
print(result.result, node["node_name"], node["start_time"] == node["end_time"])
changed = ct.redispatch(dispatch_id, replace_electrons={"second": second_again}, reuse_previous_results=True)(3, 4)
print(ct.get_result(changed, wait=True).result)
again = ct.redispatch(dispatch_id)()
print(ct.get_result(again, wait=True).result, ct.get_result(dispatch_id).result)
