from pathlib import Path

import covalent as ct

Path("src.txt").write_text("hello")
ft = ct.fs.TransferFromRemote(str(Path("src.txt").absolute()), strategy=ct.fs_strategies.Rsync())


@ct.electron(files=[ft])
def e(files=[]):
    return files


@ct.lattice
def workflow():
    return e()


result = ct.get_result(ct.dispatch(workflow)(), wait=True)
print(result.status)
if result.result:
    print([Path(one).name for one in result.result[0]][:1], result.result[0][1] == ft.to_file.filepath)
