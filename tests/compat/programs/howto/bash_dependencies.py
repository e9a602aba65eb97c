import covalent as ct
from pathlib import Path

folder = Path.cwd()


@ct.electron(deps_bash=ct.DepsBash([f"echo first > {folder}/log.txt", f"echo second >> {folder}/log.txt"]))
def read():
    return (folder / "log.txt").read_text().split()


@ct.electron(deps_bash=f"echo third > {folder}/other.txt")
def other():
    return (folder / "other.txt").read_text().strip()


@ct.lattice
def workflow():
    return read(), other()


result = ct.get_result(ct.dispatch(workflow)(), wait=True)
print(result.status, result.result)
