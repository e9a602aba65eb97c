import covalent as ct
from pathlib import Path

folder = Path.cwd()


@ct.electron
def plain(name):
    return (folder / name).exists()


@ct.electron(deps_bash=f"touch {folder}/own.txt")
def own(name):
    return (folder / name).exists()


@ct.lattice(executor="local", deps_bash=f"touch {folder}/lattice.txt")
def workflow():
    return plain("lattice.txt"), own("own.txt")


result = ct.get_result(ct.dispatch(workflow)(), wait=True)
print(result.status, result.result)
print(result.lattice.transport_graph.get_node_value(0, "metadata")["executor"])
