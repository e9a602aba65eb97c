import covalent as ct


@ct.leptons.bash
def shout(word):
    return f"echo {word}"


@ct.leptons.bash(display_name="named")
def quiet():
    return ["true", "true"]


@ct.lattice
def workflow(word):
    return shout(word), quiet()


result = ct.dispatch_sync(workflow)("hello")
print(result.status, result.result)
names = [node["node_name"] for node in result.get_all_node_results()]
print("named" in names, "echo hello" in names)
