import covalent as ct
from pathlib import Path

folder = Path.cwd()
(folder / "in.txt").write_text("line one\nline two\n")
before = ct.fs.FileTransfer(str(folder / "in.txt"), str(folder / "work.txt"))
after = ct.fs.FileTransfer(str(folder / "out.txt"), f"file://{folder}/kept.txt", order=ct.fs.Order.AFTER)


@ct.electron(files=[before, after])
def count(files=[]):
    (_, work), (out, kept) = files
    lines = Path(work).read_text().splitlines()
    Path(out).write_text(f"{len(lines)} lines")
    return len(lines), Path(kept).name


@ct.lattice
def workflow():
    return count()


result = ct.get_result(ct.dispatch(workflow)(), wait=True)
print(result.status, result.result, (folder / "kept.txt").read_text())
