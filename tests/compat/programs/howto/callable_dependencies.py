import covalent as ct
from pathlib import Path

name = str(Path.cwd() / "made.txt")


def make(path, text="hello"):
    Path(path).write_text(text)
    return path


def remove(path):
    Path(path).unlink()


@ct.electron(
    call_before=ct.DepsCall(make, args=(name,), kwargs={"text": "world"}, retval_keyword="path"),
    call_after=ct.DepsCall(remove, args=(name,)),
)
def read(path=None):
    return Path(path).read_text()


@ct.lattice
def workflow():
    return read()


result = ct.get_result(ct.dispatch(workflow)(), wait=True)
print(result.status, result.result, Path(name).exists())
