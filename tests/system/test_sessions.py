"""Sessions: bare cells of a lattice share a process and a namespace, which survive the loss of the process."""

from __future__ import annotations

import inspect
import os
import random
import signal
import textwrap
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.waiting import until

import covalab as ct
from covalab.client import Client
from covalab.jupyter.cells.header import read_header
from covalab.jupyter.notebook.electron_cell import Options
from covalab.jupyter.notebook.session import Session
from covalab.sdk.results.result import Result

pytestmark = [pytest.mark.usefixtures("live"), pytest.mark.sampled(5, of="file")]


def lattice_of(
    cells: list[str],
    notebook: dict[str, Any] | None = None,
    line: str = "all_cells",
    options: Options = Options(),  # noqa: B008 - frozen
) -> Any:
    """Run each cell as `%%electron`, or as it is named in its first line, and wire them."""
    session = Session(notebook if notebook is not None else {"__name__": "__main__"})
    for number, cell in enumerate(cells):
        text = textwrap.dedent(cell).strip()
        header, _, code = text.partition("\n") if text.startswith("%%electron") else ("%%electron", "", text)
        words = header.removeprefix("%%electron").strip()
        session.define(read_header(words), f"{header}\n{code}", 2, options, key=str(number))
    head = read_header(line, "%lattice")
    assert head.name is not None
    return session.wire(head.name, head.arguments)[0]


def run(cells: list[str], notebook: dict[str, Any] | None = None) -> Result:
    """Dispatch cells and wait."""
    result = ct.get_result(ct.dispatch(lattice_of(cells, notebook))(), wait=True, timeout=120)
    assert result.status == ct.status.COMPLETED, result.error
    return result


def test_cells_share_one_process_and_everything_in_it() -> None:
    """Iterators go on, views stay views, settings hold, a class is one class, and `_` is the value before."""
    result = run(
        [
            "import os, numpy as np\npids = [os.getpid()]\nit = iter('abc')\na = np.zeros(3)\nb = a[1:]",
            "pids.append(os.getpid())\nfirst = next(it)\nb[0] = 9\nnp.set_printoptions(precision=2)",
            "pids.append(os.getpid())\nsecond = next(it)\nshown = str(np.array([1 / 3]))",
            "class Point:\n    n = 1\np = Point()",
            "Point.n = 5\nos.environ['COVALAB_TEST_SESSION'] = 'x'\n40 + 2",
            "before = _\nseen = os.environ['COVALAB_TEST_SESSION'], p.n, isinstance(p, Point)\nfirst + second",
        ]
    )

    assert len(set(result["pids"])) == 1
    assert result["a"].tolist() == [0, 9, 0]
    assert (result["shown"], result["before"], result["seen"]) == ("[0.33]", 42, ("x", 5, True))
    assert result.result == "ab"
    assert result["b"].base is result["a"]
    assert "\nresult: 'ab'\n" in str(result)
    assert ":session:" not in str(result)


def test_an_explicit_electron_takes_values_from_the_session_and_gives_them_to_it() -> None:
    """It runs elsewhere, as a function; the session goes on in its own process, also with what is in no name."""
    result = run(
        [
            "import os\npids = [os.getpid()]\nx = [3]\ng = (n for n in range(9))\nnext(g)",
            "%%electron double(x) -> doubled\nimport os\nx.append(os.getpid())\ndoubled = 2 * x[0]",
            "pids.append(os.getpid())\ntotal = doubled + next(g)\ntotal",
        ]
    )

    assert result.result == 7
    assert len(set(result["pids"])) == 1
    assert result["x"] == [3]
    assert result["doubled"] == 6


def test_a_cell_that_fails_names_its_own_line_and_stops_those_after_it() -> None:
    """As "Run all" does; what the cells before it have made is there."""
    lattice = lattice_of(["x = 1", "y = x + 1\ny / 0", "z = 3"])

    result = ct.get_result(ct.dispatch(lattice)(), wait=True, timeout=120)

    assert result.status == ct.status.FAILED
    assert "ZeroDivisionError" in str(result.error)
    error = result.get_node_result(next(n for n in range(9) if result.get_node_result(n)["error"]))
    assert "line 3, in <module>\n    y / 0" in error["error"]
    assert result["x"] == 1
    assert "z" not in result


def test_names_that_a_cell_had_when_it_failed_are_those_of_the_notebook(tmp_path: Path) -> None:
    """As after "Run all": what was set, changed and deleted before the failing line; each run begins from the same."""
    runs = tmp_path / "runs"
    cells = [
        "x = 1\nrows = [1]\ngone = 1",
        (
            f"y = x + 1\nx = 5\nrows.append(len(rows))\ndel gone\nit = (n for n in rows)\n"
            f"log = open({str(runs)!r}, 'a')\n"
            "log.write(f'{len(rows)}\\n')\nlog.close()\ndef f(): return y\ny / 0\nnever = 1"
        ),
        "z = 3",
    ]

    result = ct.get_result(ct.dispatch(lattice_of(cells, options=Options(retries=1)))(), wait=True, timeout=240)

    assert result.status == ct.status.FAILED
    assert (result["x"], result["y"], result["rows"], result["f"]()) == (5, 2, [1, 1], 2)
    assert {"gone", "never", "z"}.isdisjoint(result)
    with pytest.raises(KeyError, match="could not be stored"):
        result["it"]
    assert runs.read_text() == "2\n2\n"


def test_the_texts_of_long_notebooks_are_stored_once() -> None:
    """A record has those of the last cells; the others are a blob, from which a function still has its lines."""
    filling = "# " + "x" * 40_000
    cells = [f"def f{number}():\n    return {number}\n{filling}" for number in range(6)]
    record = run([*cells, "import inspect\nfirst = inspect.getsource(f0)"]).session_record

    assert record is not None
    assert len(record.state.older_sources) == 3
    assert sum(map(len, record.state.sources.values())) < 41_000
    assert len(record.sources) == 7
    assert {value.digest for value in record.state.older_sources} <= {*record.blobs}
    assert record["first"] == inspect.getsource(record["f0"]) == "def f0():\n    return 0\n"


def test_names_of_the_notebook_are_those_of_the_moment_when_the_cell_was_run() -> None:
    """Plain cells between electron cells count as they did then; what a cell changed stays changed."""
    notebook: dict[str, Any] = {"__name__": "__main__"}
    session = Session(notebook)

    def plain(code: str) -> None:
        exec(textwrap.dedent(code), notebook)

    def electron(code: str) -> None:
        session.define(read_header(""), f"%%electron\n{code}", 2, Options(), key=code)

    plain("k = 1\nlog = []\ndef f(x): return x * k * SCALE")
    electron("SCALE = 10\nfirst = f(1)\nlog.append('one')")
    plain("k = 2")
    electron("second = f(1)\nlog.append('two')")
    plain("def f(x): return -x")
    electron("third = f(1)")

    result = ct.get_result(ct.dispatch(session.wire("flow")[0])(), wait=True, timeout=120)

    assert [result[name] for name in ("first", "second", "third")] == [10, 20, -1]
    assert result["log"] == ["one", "two"]


def test_the_same_lattice_is_dispatched_again_from_its_record() -> None:
    """`ct.redispatch` has the names that were taken from the notebook the first time."""
    first = ct.dispatch(lattice_of(["y = [x * 2]", "y.append(x)"], {"__name__": "__main__", "x": 4}))()
    assert ct.get_result(first, wait=True, timeout=120)["y"] == [8, 4]

    again = ct.get_result(ct.redispatch(first)(), wait=True, timeout=120)

    assert again["y"] == [8, 4]


SEEDED = [
    "import os, time, random\nimport numpy as np\nrandom.seed(3)\nnp.random.seed(4)\nwitness({0})",
    "a = np.random.rand(3)\nb = a[:2]\nrows = []\nwitness({0})\nprint('a', a.round(3))",
    "g = (n * n for n in range(100))\nnext(g), next(g)\nwitness({0})",
    "b[0] = 7\nrows.append(random.random())\nwitness({0})\na.sum().round(3)",
    "drawn = next(g)\nrows.append(np.random.rand())\nwitness({0})\nprint('drawn', drawn)",
    "class Box:\n    size = len(rows)\nbox = Box()\nBox.size += 1\nwitness({0})",
    "handlers = {{'double': lambda x: x * box.size * K}}\nK = 2\nwitness({0})\nhandlers['double'](3)",
    "last = next(g)\nrows.sort()\nwitness({0})\n[last, drawn, box.size, round(sum(rows), 6), b.base is a]",
]
WITNESS = """
def witness(n):
    with open(PATH, "a") as file:
        file.write(f"{n} {os.getpid()}\\n")
    time.sleep(PAUSE)
"""


def seeded(folder: Path, pause: float) -> tuple[Any, Path]:
    """Return a lattice whose cells say when they run, and where."""
    path = folder / "witness"
    notebook = {"__name__": "__main__", "PATH": str(path), "PAUSE": pause, "os": os, "time": time}
    exec(WITNESS, notebook)
    return lattice_of([cell.format(number) for number, cell in enumerate(SEEDED)], notebook), path


def outcome(result: Result) -> tuple[Any, ...]:
    """Return what must be the same whatever happens to the process."""
    names = {name: repr(result[name]) for name in ("a", "b", "rows", "drawn", "last", "K")}
    return result.result, names, result["Box"].size, list(result.outputs.values())


def kill_at_random(folder: Path, n: int) -> None:
    """Kill the task process of `n` runs at a random moment each, and compare with a run that nobody disturbed."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    draw = random.Random(seed)
    quiet = run_seeded(folder / "quiet", None)
    for number in range(n):
        killed = run_seeded(folder / str(number), draw.random() * 0.5)
        assert killed == quiet, f"seed {seed}, run {number}"


def run_seeded(folder: Path, kill_after: float | None) -> tuple[Any, ...]:
    """Run the seeded cells; kill their process so long after the first has begun."""
    folder.mkdir()
    lattice, path = seeded(folder, 0.05)
    handle = ct.dispatch(lattice)()
    killed: list[int] = []

    def kill() -> None:
        deadline = time.monotonic() + 60
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(kill_after or 0)
        with suppress(ProcessLookupError, IndexError, ValueError):
            pid = int(path.read_text().split()[-1])
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)

    thread = threading.Thread(target=kill)
    if kill_after is not None:
        thread.start()
    result = ct.get_result(handle, wait=True, timeout=120)
    if kill_after is not None:
        thread.join()
    assert result.status == ct.status.COMPLETED, result.error
    runs = Counter(int(line.split()[0]) for line in path.read_text().splitlines())
    assert set(runs) == set(range(len(SEEDED)))
    if kill_after is None:
        assert set(runs.values()) == {1}
    # Those that were stored do not run again, but for the cell with the generator and those that advanced it.
    at = max(runs, key=lambda number: runs[number])
    again = [number for number, times in runs.items() if times > 1]
    assert all(number in (2, 4, 7) or number >= at for number in again) or len(again) <= 4, runs
    return outcome(result)


@pytest.fixture
def killing(own: Client) -> Client:
    """Return a client of a dispatcher whose processes may be killed."""
    return own


@pytest.mark.timeout(300)
def test_a_session_survives_the_kill_of_its_process(killing: Client, tmp_path: Path) -> None:
    """The same values and outputs as without, at eight random moments."""
    kill_at_random(tmp_path, 8)


def test_streams_and_annotations_survive_the_kill_of_its_process(killing: Client, tmp_path: Path) -> None:
    """They have no name, or are used without it: a stream that a cell has put in place of the process's."""
    folder = str(tmp_path)
    dies = f"path = pathlib.Path({folder!r}, '{{}}')\nif not path.exists(): path.touch(); os.kill(os.getpid(), 9)"
    tee = """
class Tee:
    def __init__(self): self.kept = []
    def write(self, text): self.kept.append(text)
    def flush(self): pass
tee = Tee()
sys.stdout = tee
sys.stderr = io.StringIO()
"""
    cells = [
        "import io, os, pathlib, sys\nx: int = 1",
        tee,
        dies.format(1),
        "print('once')\nprint('hidden', file=sys.stderr)\ny: 'list[int]' = [2]",
        "class Own: ...\nz: Own = Own()",
        dies.format(2),
        "print('twice')\nseen = sys.stdout is tee, type(tee) is Tee, sys.stderr.getvalue(), dict(__annotations__)",
        "del tee\nsys.stderr = sys.__stderr__",
        dies.format(3),
        "rest = [one for one in sys.stdout.kept if one.strip()], __annotations__['z'] is Own",
    ]

    result = run(cells)

    assert result.status == ct.status.COMPLETED, result.error
    assert result["seen"][:3] == (True, True, "hidden\n")
    assert {name: str(kind) for name, kind in result["seen"][3].items()} == {
        "x": "<class 'int'>",
        "y": "list[int]",
        "z": "<class '__main__.Own'>",
    }
    assert result["rest"] == (["once", "twice"], True)
    assert not any(name.startswith(":") for name in result)


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_a_session_survives_two_hundred_kills(killing: Client, tmp_path: Path) -> None:
    """The same, two hundred times."""
    kill_at_random(tmp_path, 200)


def test_what_the_cells_before_left_and_is_gone_is_storage(killing: Client, tmp_path: Path) -> None:
    """A cell whose process was killed goes on from the record; where that cannot be read it has failed by `storage`."""
    pid = tmp_path / "pid"
    cells = [
        "x = list(range(100_000))",
        f"import os, pathlib, time\npathlib.Path({str(pid)!r}).write_text(str(os.getpid()))\ntime.sleep(600)\nlen(x)",
    ]
    dispatch = ct.dispatch(lattice_of(cells))()
    until(lambda: pid.exists() and pid.read_text())
    until(lambda: killing.summary(dispatch).counts.completed)
    for blob in list(killing.blobs.digests()):
        killing.blobs.path(blob).unlink()
    os.kill(int(pid.read_text()), signal.SIGKILL)
    result = ct.get_result(dispatch, wait=True, timeout=120)

    failed = next(node for node in result.get_all_node_results() if node["status"] == ct.status.FAILED)
    assert failed["error_type"] == "storage"
    assert "what the cells before left cannot be read" in failed["error"]
    assert "is no longer in" in failed["error"]
