import covalent as ct
from pathlib import Path

Path("mine.py").write_text("def triple(x):\n    return 3 * x\n")
task = ct.Lepton(language="python", library_name=str(Path("mine.py").absolute()), function_name="triple")


@ct.lattice
def workflow(x):
    return task(x)


result = ct.dispatch_sync(workflow)(5)
print(result.status, result.result)
