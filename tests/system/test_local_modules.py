"""A dispatch imports what was in the notebook's folder when it was dispatched, whatever is there when it runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.jupyter.runs.notebooks import code, shown, wait_for_end, write

import covalab as ct
from covalab.client import Client

pytestmark = pytest.mark.sampled(3)

COMMON = """
import sys
import time
from pathlib import Path
import covalab as ct
from covalab.sdk.dispatching.api import start

HERE = Path(__file__).parent

def write(name, text):
    path = HERE / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)

@ct.electron
def single():
    import helper
    return helper.NUMBER

@ct.electron
def package():
    import shapes.area
    return shapes.area.area()

@ct.electron
def relative():
    from shapes.inner import deep
    return deep.N

@ct.electron
def both(first):
    import helper
    return first, helper.NUMBER

@ct.electron
def edits():
    import helper
    write("helper.py", "NUMBER = -1")
    return helper.NUMBER

@ct.electron
def traced():
    import helper
    return helper.fail()

def version(n):
    write("helper.py", f"NUMBER = {n}\\ndef fail(): raise ValueError({n})\\n")
    write("shapes/__init__.py", "")
    write("shapes/area.py", f"from .unit import UNIT\\ndef area(): return UNIT * 10 + {n}\\n")
    write("shapes/unit.py", f"UNIT = {n}\\n")
    write("shapes/inner/__init__.py", "")
    write("shapes/inner/deep.py", f"from .. import unit\\nN = unit.UNIT\\n")

def run(lattice, *args):
    result = ct.dispatch_sync(lattice)(*args)
    assert result.status == "COMPLETED", result.error
    return result.result

all_of = ct.lattice(lambda: [single(), package(), relative()])
after_edit = ct.lattice(lambda: both(edits()))
"""

PROGRAMS = {
    # A module, a package, a submodule with relative imports, between two dispatches of one process.
    "between_dispatches": """
(HERE / "shapes").mkdir(exist_ok=True); (HERE / "shapes/inner").mkdir(exist_ok=True)
for n in (1, 2, 3, 4):
    version(n)
    assert run(all_of) == [n, 11 * n, n], (n, run(all_of))
""",
    # One node edits what the next imports: both see the version of the dispatch.
    "between_nodes": """
(HERE / "shapes/inner").mkdir(parents=True, exist_ok=True)
for n in (5, 6):
    version(n)
    assert run(after_edit) == (n, n)
    assert (HERE / "helper.py").read_text() == "NUMBER = -1"
    assert run(ct.lattice(lambda: single())) == -1
""",
    # The file, the package and the whole folder are gone when it runs.
    "gone": """
(HERE / "shapes/inner").mkdir(parents=True, exist_ok=True)
version(7)
held = ct.dispatch(all_of, disable_run=True)()
ruined = ct.dispatch(ct.lattice(lambda: traced()), disable_run=True)()
(HERE / "helper.py").unlink()
(HERE / "shapes").rename(HERE / "elsewhere")
HERE.rename(HERE.parent / "hidden")
for one in (held, ruined):
    start(one)
assert ct.get_result(held, wait=True).result == [7, 77, 7]
error = ct.get_result(ruined, wait=True).get_node_result(0)["error"]
assert "def fail(): raise ValueError(7)" in error, error
(HERE.parent / "hidden").rename(HERE)
""",
    # What runs again is what was recorded; with other arguments, too.
    "redispatch": """
(HERE / "shapes/inner").mkdir(parents=True, exist_ok=True)
version(8)
@ct.electron
def add(x):
    import helper
    return helper.NUMBER + x
flow = ct.lattice(lambda x: add(x))
first = ct.dispatch(flow)(0)
assert ct.get_result(first, wait=True).result == 8
version(9)
assert ct.get_result(ct.redispatch(first)(), wait=True).result == 8
assert ct.get_result(ct.redispatch(first)(100), wait=True).result == 108
assert run(flow, 0) == 9
""",
    # A sublattice's electrons run after a node that edits the file; its child has its parent's version.
    "sublattice": """
(HERE / "shapes/inner").mkdir(parents=True, exist_ok=True)
@ct.electron
@ct.lattice
def below(x):
    import helper
    return both(helper.NUMBER * x)
flow = ct.lattice(lambda: below(edits()))
for n in (3, 4):
    version(n)
    found = run(flow)
    assert tuple(found) == (n * n, n), found
""",
    # A task that dispatches hands on what it was sent.
    "nested": """
(HERE / "shapes/inner").mkdir(parents=True, exist_ok=True)
@ct.electron
def submits():
    write("helper.py", "NUMBER = -1")
    return str(ct.dispatch(ct.lattice(single))())
flow = ct.lattice(lambda: submits())
version(2)
assert ct.get_result(run(flow), wait=True).result == 2
""",
    # By value from outside and imported inside are of one version; so are values of classes.
    "two_halves": """
import importlib
for n in (1, 2, 3):
    write("halves.py", f"import halves_too\\nclass P:\\n    def n(self): return {n}\\ndef f(): return halves_too.N\\n")
    write("halves_too.py", f"N = {n}\\n")
    import halves, halves_too
    importlib.reload(halves_too); importlib.reload(halves)
    @ct.electron
    def three(p):
        import halves as inside
        return [halves.f(), inside.f(), p.n(), inside.P().n(), halves_too.N]
    assert run(ct.lattice(lambda p: three(p)), halves.P()) == [n] * 5
""",
    # An executor of the user's, whose tasks run in the process of executors.
    "executor": """
from covalab.executor import BaseExecutor
class Own(BaseExecutor):
    def run(self, function, args, kwargs, task_metadata):
        return function(*args, **kwargs)
own = Own()
for n in (1, 2, 3):
    write("hosted.py", f"N = {n}\\n")
    @ct.electron(executor=own)
    def hosted():
        import hosted
        return hosted.N
    assert run(ct.lattice(lambda: hosted())) == n
""",
    # A module that cannot travel by value, because it holds a lock, travels by name.
    "locked": """
for n in (1, 2, 3):
    write("locked.py", f"import threading\\nLOCK = threading.Lock()\\ndef f(): return {n}\\n")
    sys.modules.pop("locked", None)
    import locked
    @ct.electron
    def uses():
        return locked.f()
    assert run(ct.lattice(lambda: uses())) == n
""",
}


@pytest.fixture
def notebook(live: Client, tmp_path: Path) -> Path:
    """Return the folder of a notebook."""
    del live  # its dispatcher and workers serve them all
    folder = tmp_path / "notebook"
    folder.mkdir()
    return folder


def run(folder: Path, program: str) -> None:
    """Run a program in a process of its own, which must not fail."""
    (folder / "program.py").write_text(COMMON + program)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-B", str(folder / "program.py")],
        cwd=folder.parent,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", list(PROGRAMS))
def test_tasks_import_the_version_of_their_dispatch(notebook: Path, name: str) -> None:
    """Workers live on from one dispatch to the next, and the files change meanwhile."""
    run(notebook, PROGRAMS[name])


def test_a_new_process_brings_the_new_version(notebook: Path) -> None:
    """What was edited between two runs of a script counts, whatever the workers loaded before."""
    (notebook / "shapes" / "inner").mkdir(parents=True)
    for number in (1, 2):
        run(notebook, f"version({number})\nassert run(all_of) == [{number}, {11 * number}, {number}]")


def test_a_notebook_imports_the_module_that_its_cells_write(live: Client, tmp_path: Path) -> None:
    """Also where another one of that name was there when it began, and when it is loaded anew."""
    texts = [f"open('law_written.py', 'w').write('N = {n}\\n# {'x' * n}')" for n in (3, 10)]
    cells = [
        texts[0],
        "import law_written\nlaw_written.N",
        texts[1],
        "import importlib",
        "importlib.reload(law_written).N",
    ]
    path = write(tmp_path / "writes.ipynb", *cells)

    for _ in range(2):
        run = ct.run_notebook(path)
        assert wait_for_end(live, run) == "completed"
        found = code(ct.get_result(run).notebook())
        assert [shown(found[n]) for n in (1, 4)] == [["3"], ["10"]]
