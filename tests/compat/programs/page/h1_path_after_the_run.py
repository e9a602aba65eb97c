from pathlib import Path

import covalent as ct

Path("src.txt").write_text("hello")
ft = ct.fs.FileTransfer(str(Path("src.txt").absolute()))
print(ft.to_file.filepath == ft.to_file.filepath, ft.to_file.is_temp_file)


@ct.electron(files=[ft])
def e(files=[]):
    return files, Path(files[0][1]).read_text()


@ct.lattice
def workflow():
    return e()


result = ct.get_result(ct.dispatch(workflow)(), wait=True)
print(result.status)
files, text = result.result
print([Path(one).name for one in files[0]][:1], files[0][1] == ft.to_file.filepath, text)
print(Path(ft.to_file.filepath).read_text())
