import covalent as ct


@ct.electron
def speak(x):
    print("hello from", x)
    return {"x": x}


@ct.lattice
def workflow(x):
    return speak(x)


result = ct.get_result(ct.dispatch(workflow)("task"), wait=True)
node = result.get_node_result(node_id=0)
print(node["node_id"], node["node_name"], node["status"], node["output"].get_deserialized(), node["error"])
print(node["end_time"] >= node["start_time"], "hello from task" in node["stdout"])
print({name: value.get_deserialized() for name, value in result.get_all_node_outputs().items()})
print([one["node_id"] for one in result.get_all_node_results()])
