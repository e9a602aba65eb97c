import covalent as ct
from pathlib import Path

folder = Path.cwd()


@ct.electron
def task(name):
    return (folder / name).exists()


@ct.electron
@ct.lattice
def below():
    return task("mark.txt")


@ct.lattice(deps_bash=f"touch {folder}/mark.txt", executor="local")
def workflow():
    return task("mark.txt"), below()


result = ct.get_result(ct.dispatch(workflow)(), wait=True)
print(result.status, result.result)
