import covalent as ct
import time


@ct.electron
def slow(x):
    time.sleep(20)
    return x


@ct.electron
def after(x):
    return x


@ct.lattice
def workflow(x):
    return after(slow(x))


dispatch_id = ct.dispatch(workflow)(1)
while ct.get_result(dispatch_id).get_node_result(0)["status"] != "RUNNING":
    time.sleep(0.1)
answer = ct.cancel(dispatch_id)
print(isinstance(answer, str), dispatch_id in answer)
result = ct.get_result(dispatch_id, wait=True)
print(result.status, result.result, result.error)
print([(node["node_name"], str(node["status"] == "CANCELLED")) for node in result.get_all_node_results()[:3]])
