"""Notebook runs with a real dispatcher: values, outputs, failures, going on, names in another kernel."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
import textwrap
from pathlib import Path
from typing import Any

import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell
from tests.jupyter.runs.notebooks import code, notebook, shown, statuses, tagged, wait_for_end, write

import covalab as ct
from covalab.client import Client
from covalab.core.errors import GraphError
from covalab.jupyter.runs.document import NotebookRefused

pytestmark = pytest.mark.sampled(11, of="file")

IMPORTS = """%matplotlib inline
import numpy as np
import pandas as pd
import matplotlib.pyplot as plt
import beside

np.random.seed(1)"""
FULL = (
    "#%# All that a notebook shows",
    tagged("region = 'south'\nn = 3", "parameters"),
    IMPORTS,
    "df = pd.DataFrame({'a': np.random.rand(n)})\ndf",
    "plt.plot(df.a); plt.show()",
    "!echo from the shell\nprint(region, beside.twice(n))",
    "   ",
    tagged("1/0", "raises-exception"),
    tagged("1/0", "skip"),
    "import sys\nprint('said', file=sys.stderr)\ntotal = float(df.a.sum())\nn",
    "_ + 1, len(In) > 3",
    "def model(x):\n    return x * scale\n\nscale = 3\nshared = [1]\nother = shared",
    "rows = [model(one) for one in range(3)]",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the notebook, with a module beside it."""
    found = tmp_path_factory.mktemp("run folder")
    (found / "beside.py").write_text("def twice(x):\n    return 2 * x\n")
    write(found / "full.ipynb", *FULL)
    return found


@pytest.fixture(scope="module")
def full(data_dir: Path, folder: Path) -> str:
    """Return the id of a run of the notebook, whose file is gone when it has ended."""
    path = folder / "full.ipynb"
    run = ct.run_notebook(path, {"region": "north"})
    path.rename(folder / "renamed.ipynb")  # while it runs
    wait_for_end(Client(data_dir), run)
    return str(run)


def test_values_of_a_module_beside_the_notebook_are_opened_anywhere(live: Client, tmp_path: Path) -> None:
    """The module travelled with the run; where it is not found, its values are opened with that one, and no other."""
    place = tmp_path / "place"
    (place / "kinds_of_run").mkdir(parents=True)
    (place / "kinds_of_run" / "__init__.py").write_text("from .colours import Colour\nfrom sizes_of_run import SIZE\n")
    (place / "kinds_of_run" / "colours.py").write_text("import enum\nclass Colour(enum.Enum):\n    RED = 1\n")
    (place / "sizes_of_run.py").write_text(
        "class Size:\n    def __init__(self, a):\n        self.a = a\nSIZE = Size(3)\n"
    )
    path = write(place / "n.ipynb", "import kinds_of_run as kinds", "red, size = [kinds.Colour.RED], kinds.SIZE", "red")
    run = ct.run_notebook(path)
    assert wait_for_end(live, run) == "completed"
    shutil.rmtree(place)

    result = ct.get_result(run)

    assert [one.name for one in result["red"]] == ["RED"]
    assert result["size"].a == 3
    assert [one.name for one in result.result] == ["RED"]
    assert type(result["red"][0]) is sys.modules["kinds_of_run"].Colour
    for name in ("kinds_of_run.colours", "kinds_of_run", "sizes_of_run"):
        del sys.modules[name]
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("sizes_of_run")


def test_every_cell_shows_what_it_would_show_in_a_kernel(full: str) -> None:
    """Tables, figures, shell lines, errors, standard error, history, counts."""
    found = ct.get_result(full).notebook()

    nbformat.validate(nbformat.from_dict(found))
    cells = code(found)
    assert [cell["execution_count"] for cell in cells] == [1, 2, 3, 4, 5, 6, None, 7, None, 8, 9, 10, 11]
    assert cells[1]["source"] == "# Parameters\nregion = 'north'"
    table, figure, printed, failed, said, history = (shown(cells[n]) for n in (3, 4, 5, 7, 9, 10))
    assert table[0].startswith("          a")
    assert "text/html" in cells[3]["outputs"][0]["data"]
    assert figure == ["image"]
    assert "".join(printed).replace("\r", "") == "from the shell\nnorth 6\n"
    assert failed == ["ZeroDivisionError"]
    assert said == ["said\n", "3"]
    assert history == ["(4, True)"]
    trace = "".join(cells[7]["outputs"][0]["traceback"])
    assert "Cell" in trace
    assert "In[7]" in trace
    assert statuses(found) == ["completed"] * 11
    assert found["metadata"]["covalab"]["parameters"] == {"region": "north"}


def test_the_result_is_as_usual(full: str) -> None:
    """Names, the value of the last cell, status, the notebook's name."""
    result = ct.get_result(full)

    assert str(result.status) == "COMPLETED"
    assert result["total"] == pytest.approx(0.4170 + 0.7203 + 0.0001, abs=1e-3)
    assert result["rows"] == [0, 3, 6]
    assert "df" in result
    assert len(result["df"]) == 3
    assert result.transport_graph.lattice_metadata is not None


@pytest.mark.parametrize("name", ["out.ipynb", "out.html", "out.md", "out.py"])
def test_the_executed_notebook_is_written_in_other_formats(full: str, tmp_path: Path, name: str) -> None:
    """By the ending of the file; pictures of Markdown are beside it."""
    path = ct.export_notebook(full, tmp_path / name)

    text = path.read_text()
    assert "north" in text
    if name == "out.md":
        assert list((tmp_path / "out_files").glob("*.png"))
    if name == "out.ipynb":
        nbformat.validate(nbformat.reads(text, as_version=4))
        assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    umask = os.umask(0o022)
    os.umask(umask)
    return umask


def test_formats_that_are_not_known_and_dispatches_that_are_no_run(full: str, tmp_path: Path, live: Client) -> None:
    """Both are errors that say so; nothing is written."""
    with pytest.raises(GraphError, match="which format is meant"):
        ct.export_notebook(full, tmp_path / "out.xyz")
    with pytest.raises(GraphError, match="no exporter 'nonsense'"):
        ct.export_notebook(full, tmp_path / "out.xyz", to="nonsense")
    with pytest.raises(FileNotFoundError, match=r"/none/out\.ipynb'"):
        ct.export_notebook(full, tmp_path / "none" / "out.ipynb")
    plain: Any = ct.lattice(ct.electron(abs))
    other = ct.dispatch(plain)(-1)
    with pytest.raises(GraphError, match="is no notebook run"):
        ct.get_result(other).notebook()
    assert not list(tmp_path.iterdir())


# Failure, and going on


def test_a_run_stops_at_the_first_error_and_goes_on_when_it_is_mended(live: Client, tmp_path: Path) -> None:
    """Cells before it are kept with their outputs, random state and all; the others run with the notebook as it is."""
    path = write(
        tmp_path / "broken.ipynb",
        "import random\nrandom.seed(3)\nfirst = random.random()\nprint('once')\nopen('runs', 'a').write('1')",
        "values = [1, 2]",
        "total = sum(valuez)",
        "second = random.random()\ntotal, first != second",
    )

    run = ct.run_notebook(path)
    assert wait_for_end(live, run) == "failed"
    broken = ct.get_result(run)
    assert statuses(broken.notebook()) == ["completed", "completed", "failed", "skipped"]
    assert shown(code(broken.notebook())[2]) == ["NameError"]
    assert broken["values"] == [1, 2]

    document = json.loads(path.read_text())
    document["cells"][2]["source"] = "total = sum(values)"
    path.write_text(json.dumps(document))
    again = ct.resume_notebook(run)

    assert wait_for_end(live, again) == "completed"
    result = ct.get_result(again)
    found = result.notebook()
    assert statuses(found) == ["completed"] * 4
    assert shown(code(found)[0]) == ["once\n", "1"]
    assert [cell["execution_count"] for cell in code(found)] == [1, 2, 3, 4]
    assert result.result == (3, True)
    assert result["first"] == broken["first"]
    assert (tmp_path / "runs").read_text() == "1"  # the first cell has run once
    submission = live.submission(again)
    assert submission.notebook is not None
    assert submission.notebook.resumed == run
    assert found["metadata"]["covalab"]["resumed"] == run
    assert "resumed" not in broken.notebook()["metadata"]["covalab"]


def test_going_on_needs_an_end_and_a_notebook(live: Client, tmp_path: Path) -> None:
    """A run that goes on is refused; without the file, the stored document runs."""
    path = write(tmp_path / "slow.ipynb", "x = 1", "import time\nwhile x:\n    time.sleep(0.05)")
    run = ct.run_notebook(path, cell_timeout=300)
    with pytest.raises(GraphError, match="has not ended"):
        ct.resume_notebook(run)
    ct.cancel(run)
    assert wait_for_end(live, run) == "cancelled"
    path.unlink()

    again = ct.resume_notebook(run)
    ct.cancel(again)

    assert wait_for_end(live, again) == "cancelled"
    with pytest.raises(NotebookRefused, match="there is no notebook"):
        ct.resume_notebook(run, path=path)


def test_limits_retries_and_errors_that_are_allowed(live: Client, tmp_path: Path) -> None:
    """A tag gives a cell a second run; a limit ends one that takes too long; an option lets all go on."""
    path = write(
        tmp_path / "options.ipynb",
        tagged("import os\nn = len(os.listdir())\nopen(f'file{n}', 'w').close()\nassert n > 1", "retries=1"),
        "1/0",
        ("import time\ntime.sleep(600)", {"covalab": {"time_limit": 0.5}}),
        "done = True",
    )

    run = ct.run_notebook(path, allow_errors=True)

    assert wait_for_end(live, run) == "failed"  # a limit is no exception of the cell's
    found = ct.get_result(run).notebook()
    assert statuses(found) == ["completed", "completed", "failed", "skipped"]
    assert shown(code(found)[1]) == ["ZeroDivisionError"]


def test_an_editors_text_runs_from_a_cell_on(live: Client, tmp_path: Path) -> None:
    """The document goes before the file; cells before the first do not run and have no node."""
    path = write(tmp_path / "edited.ipynb", "x = 1")

    run = ct.run_notebook(path, document=notebook("x = 1/0", "y = 2", "z = y + 1"), first="c1")

    assert wait_for_end(live, run) == "completed"
    result = ct.get_result(run)
    assert sorted(result) == ["y", "z"]
    submission = live.submission(run)
    assert submission.notebook is not None
    assert [cell.node >= 0 for cell in submission.notebook.cells] == [False, True, True]
    with pytest.raises(NotebookRefused, match="no cell with the id 'gone'"):
        ct.run_notebook(path, first="gone")


def test_two_runs_of_one_notebook_at_once_are_apart(live: Client, tmp_path: Path) -> None:
    """Each has its own process and values."""
    path = write(tmp_path / "twice.ipynb", tagged("n = 0", "parameters"), "import os\nmine = n, os.getpid()", "mine")

    runs = [ct.run_notebook(path, {"n": n}) for n in (1, 2)]

    assert [wait_for_end(live, run) for run in runs] == ["completed", "completed"]
    found = [ct.get_result(run).result for run in runs]
    assert [one[0] for one in found] == [1, 2]
    assert found[0][1] != found[1][1]


def test_a_syntax_error_is_one_when_its_turn_comes(live: Client, tmp_path: Path) -> None:
    """Cells before it have run, as in a kernel."""
    run = ct.run_notebook(write(tmp_path / "syntax.ipynb", "x = 1", "def broken(:\n", "y = 1"))

    assert wait_for_end(live, run) == "failed"
    found = ct.get_result(run).notebook()
    assert statuses(found) == ["completed", "failed", "skipped"]
    assert shown(code(found)[1]) == ["SyntaxError"]


def test_libraries_find_a_kernel_wherever_the_run_was_asked_for(
    live: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they look for decides how they show things; a terminal has none of it, or other values."""
    monkeypatch.delenv("JPY_PARENT_PID", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setenv("TERM", "dumb")
    text = """import os
from tqdm.auto import tqdm
import argparse, sys
program = os.path.basename(sys.argv[0]), len(sys.argv), argparse.ArgumentParser().prog
kinds = tqdm.__module__, __IPYTHON__, get_ipython().__class__.__name__
colours = [os.environ.get(name) for name in ("TERM", "FORCE_COLOR", "CLICOLOR", "PAGER", "MPLBACKEND")]
!echo $TERM $GIT_PAGER
import subprocess
said = subprocess.run("echo $TERM $CLICOLOR_FORCE", shell=True, capture_output=True, text=True).stdout"""

    run = ct.run_notebook(write(tmp_path / "kernel.ipynb", text))
    wait_for_end(live, run)

    result = ct.get_result(run)
    assert result["kinds"] == ("tqdm.auto", True, "ZMQInteractiveShell")
    assert result["program"] == ("ipykernel_launcher.py", 3, "ipykernel_launcher.py")
    assert result["colours"] == ["xterm-color", "1", "1", "cat", "module://matplotlib_inline.backend_inline"]
    assert result["said"] == "xterm-color 1\n"
    assert "".join(shown(code(result.notebook())[0])).split() == ["xterm-color", "cat"]


def test_what_a_thread_shows_after_its_cell_is_missed_loudly(live: Client, tmp_path: Path) -> None:
    """The cell in which it is lost says so, with the name of the thread; others say nothing."""
    cells = (
        "import threading\ngo = threading.Event()\ndef late():\n    go.wait()\n    print('late')\n    display(1)",
        "threads = [threading.Thread(target=late, name=f'reader {n}') for n in range(2)]",
        "for one in threads: one.start()\nprint('first')",
        "print('second')",
        "go.set()\nfor one in threads: one.join()\nprint('third')",
        "print('fourth')",
    )

    run = ct.run_notebook(write(tmp_path / "late.ipynb", *cells))
    wait_for_end(live, run)

    _, _, first, second, third, fourth = (shown(cell) for cell in code(ct.get_result(run).notebook()))
    assert [first, second, fourth] == [["first\n"], ["second\n"], ["fourth\n"]]
    assert third[0] == "third\n"
    assert "reader 0" in third[1]
    assert "reader 1" in third[1]
    assert "thread.join()" in third[1]
    assert "late" not in "".join(third)


def test_a_notebook_without_code_completes(live: Client, tmp_path: Path) -> None:
    """Prose is executed by doing nothing."""
    run = ct.run_notebook(write(tmp_path / "prose.ipynb", "#%only prose"))

    assert wait_for_end(live, run) == "completed"
    assert ct.get_result(run).notebook()["cells"][0]["source"] == "only prose"


def test_a_folder_that_is_gone_is_refused(tmp_path: Path) -> None:
    """Before anything runs."""
    path = write(tmp_path / "n.ipynb", "1")
    document = json.loads(path.read_text())

    with pytest.raises(NotebookRefused, match=r"working folder .* is not there"):
        ct.run_notebook(tmp_path / "gone" / "n.ipynb", document=document)


def test_a_large_notebook_runs_without_the_outputs_that_it_had(live: Client, tmp_path: Path) -> None:
    """50 MB of earlier outputs are neither stored nor in the executed notebook."""
    found = notebook("x = 1\nx")
    found["cells"][0]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "x" * 50_000_000}]
    path = tmp_path / "large.ipynb"
    path.write_text(json.dumps(found))

    run = ct.run_notebook(path)

    assert wait_for_end(live, run) == "completed"
    executed = ct.export_notebook(run, tmp_path / "out.ipynb")
    assert executed.stat().st_size < 10_000
    assert shown(json.loads(executed.read_text())["cells"][0]) == ["1"]


def test_a_redispatch_of_a_run_is_a_run(live: Client, tmp_path: Path) -> None:
    """It has the document too, also a long one, which is stored beside the database."""
    run = ct.run_notebook(write(tmp_path / "n.ipynb", f"x = 1\n# {'long ' * 20_000}", "x + 1"))
    assert wait_for_end(live, run) == "completed"

    again = ct.redispatch(run)()
    reused = ct.redispatch(run, reuse_previous_results=True)()

    for one in (again, reused):
        assert wait_for_end(live, one) == "completed"
        assert [shown(cell) for cell in code(ct.get_result(one).notebook())] == [[], ["2"]]


# Names in another notebook


@pytest.fixture
def shell() -> Any:
    """Return an IPython with the magics."""
    InteractiveShell.clear_instance()
    made = InteractiveShell.instance()
    made.run_line_magic("load_ext", "covalab")
    yield made
    InteractiveShell.clear_instance()


def run_cell(shell: Any, text: str) -> Any:
    """Run a cell, which must not fail, and return its value."""
    found = shell.run_cell(textwrap.dedent(text))
    found.raise_error()
    return found.result


def test_names_come_when_a_cell_reads_them(full: str, shell: Any) -> None:
    """Until then they are not there; functions find what they read; names that share an object share it."""
    said = repr(run_cell(shell, f"%bring {full}"))

    assert "loaded when a cell first reads them" in said
    assert {"rows", "model", "scale", "df"}.isdisjoint(shell.user_ns)
    assert run_cell(shell, "model(2)") == 6
    assert {"model", "scale"} <= shell.user_ns.keys()
    assert "df" not in shell.user_ns
    assert run_cell(shell, "scale = 5\nmodel(2)") == 10
    assert run_cell(shell, "shared.append(2)\nother") == [1, 2]
    assert run_cell(shell, "len(df)") == 3


def test_names_are_there_in_the_cell_that_brings_them(full: str, shell: Any) -> None:
    """Below the line, in a block as well; nothing else is loaded, and as the last line it still shows what came."""
    run_cell(shell, "scale = 'mine'")

    assert run_cell(shell, f"%bring {full} scale total --replace\nscale, total")[0] == 3
    assert run_cell(shell, f"for _ in range(2):\n    %bring {full} shared other\n    shared.append(2)\nother") == [
        1,
        2,
        2,
    ]
    assert "loaded when a cell first reads them: df" in repr(run_cell(shell, f"1\n%bring {full} df"))
    assert "df" not in shell.user_ns


def test_names_of_this_notebook_are_not_overwritten_silently(
    full: str, shell: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are named and stay, unless one asks; what the notebook sets afterwards is its own."""
    run_cell(shell, "scale = 'mine'\nrows = 'mine'")

    run_cell(shell, f"%bring {full} scale, total nothing\nNone")  # not its last line

    said = capsys.readouterr().err
    assert "left as they are here: scale" in said
    assert "the run has no nothing" in said
    assert run_cell(shell, "scale") == "mine"
    assert "rows" not in said
    run_cell(shell, "total = 'set'")
    assert run_cell(shell, "total") == "set"
    run_cell(shell, f"%bring {full} scale --replace")
    assert run_cell(shell, "scale") == 3


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"path": None}, "needs the path of a notebook, not None"),
        ({"cell_timeout": -1}, "cell_timeout is a number of seconds above 0, not -1"),
        ({"cell_timeout": "soon"}, "cell_timeout is a number of seconds above 0, not 'soon'"),
        ({"parallel": "yes"}, "parallel is True or False, not 'yes'"),
        ({"reuse": 3}, "reuse is True or False, not 3"),
    ],
)
def test_arguments_of_a_run_are_checked_before_it(arguments: dict[str, Any], says: str, tmp_path: Path) -> None:
    """The message names the argument, and nothing is dispatched."""
    with pytest.raises(NotebookRefused, match=says):
        ct.run_notebook(**{"path": write(tmp_path / "n.ipynb", "1"), **arguments})


def test_a_notebook_is_run_from_another(live: Client, shell: Any, tmp_path: Path) -> None:
    """The magic takes papermill's parameters and returns the id; a refusal is one line."""
    path = write(tmp_path / "inner.ipynb", tagged("a = 1", "parameters"), "b = a * 2")

    run = run_cell(shell, f"run = %run_notebook '{path}' -p a 21\nrun")

    assert wait_for_end(live, run) == "completed"
    run_cell(shell, "%bring run b")
    assert run_cell(shell, "b") == 42

    write(path, tagged("a = 1", "parameters"), "b = a * 3\nnothing")
    failed = run_cell(shell, f"failed = %run_notebook '{path}' -p a 5\nfailed")
    assert wait_for_end(live, failed) == "failed"
    write(path, tagged("a = 1", "parameters"), "b = a * 3")
    again = run_cell(shell, "again = %run_notebook --resume failed\nagain")
    assert wait_for_end(live, again) == "completed"
    assert ct.get_result(again)["b"] == 15
    for line in ("%run_notebook", "%run_notebook --resume failed -p a 6", "%run_notebook --resume 'no run'"):
        assert shell.run_cell(line).success is False

    shutil.rmtree(tmp_path)
    assert shell.run_cell(f"%run_notebook {path}").success is False
