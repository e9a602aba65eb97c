import covalent as ct
import math

root = ct.electron(math.sqrt)
join = ct.electron(lambda a, b: f"{a}-{b}")


@ct.lattice
def workflow(x):
    return join(root(x), b="end")


result = ct.get_result(ct.dispatch(workflow)(16), wait=True)
print(result.status, result.result)
print(result.get_node_result(1)["node_name"], result.get_node_result(0)["node_name"])
