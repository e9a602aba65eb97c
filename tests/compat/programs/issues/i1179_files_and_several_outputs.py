import covalent as ct
from pathlib import Path

(Path.cwd() / "data.txt").write_text("1 2 3")
transfer = ct.fs.FileTransfer(str(Path.cwd() / "data.txt"), str(Path.cwd() / "copy.txt"))


@ct.electron(files=[transfer])
def read(n, files=[]):
    return n, Path(files[0][1]).read_text().split()


@ct.lattice
def workflow(n):
    number, texts = read(n)
    return texts, number


result = ct.get_result(ct.dispatch(workflow)(7), wait=True)
print(result.status, result.result)
