"""Reuse of cells: a cell whose text and inputs are those of an earlier run does not run, and nobody can tell."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.worker.reused_cells import Notebook, run

pytestmark = pytest.mark.sampled(14, of="file")

pytest.importorskip("IPython")


def both(cells: list[str], folder: Path, **options: object) -> Notebook:
    """Run cells with reuse and, in another folder, without; both are the same to who looks at them."""
    found = run(cells, folder, **options)  # type: ignore[arg-type]
    with tempfile.TemporaryDirectory() as other:
        plain = run(cells, Path(other), reuse=False, **options)  # type: ignore[arg-type]
    assert repr(sorted(found.values.items())) == repr(sorted(plain.values.items()))
    assert found.shown == plain.shown
    return found


BASIC = [
    "x = 1",
    "y = x + 1\nprint(y)\ny",
    "def f(a):\n    return a + x",
    "z = f(3)\nz",
    "row = [1, 2]\nalias = row",
    "alias.append(z)\nrow",
    "print(row is alias, len(row))",
]


def test_a_second_run_runs_nothing_and_shows_the_same(tmp_path: Path) -> None:
    """Values, aliases, texts and values of last expressions are those of the first."""
    first = both(BASIC, tmp_path)
    second = both(BASIC, tmp_path)

    assert first.ran == [*range(len(BASIC))]
    assert second.ran == []
    assert second.shown == first.shown


@pytest.mark.parametrize(
    ("number", "text", "ran"),
    [
        (0, "x = 2", [0, 1, 2, 3, 5, 6]),
        (4, "row = [1, 2]\nalias = row\nmore = 0", [4]),
        *(
            pytest.param(*case, marks=pytest.mark.nightly)
            for case in (
                (0, "x = 1  # the same", [0]),
                (6, "print('then', row is alias)", [6]),
                (4, "row = [1, 3]\nalias = row", [4, 5, 6]),
                (2, "def f(a):\n    return x + a", [2, 3]),
            )
        ),
        (5, "alias.append(z)\nalias.append(0)\nrow", [5, 6]),
    ],
)
def test_an_edit_runs_what_it_changes(number: int, text: str, ran: list[int], tmp_path: Path) -> None:
    """A cell whose inputs have the values that they had does not run again, also after one that ran."""
    run(BASIC, tmp_path)
    cells = [*BASIC]
    cells[number] = text

    assert both(cells, tmp_path).ran == ran
    assert run(cells, tmp_path).ran == []
    assert run(BASIC, tmp_path).ran == []


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    """Return a folder for files and modules of a notebook."""
    folder = tmp_path / "notebook"
    folder.mkdir()
    return folder


def test_a_file_that_changes_runs_its_reader(tmp_path: Path, beside: Path) -> None:
    """A file with the same content is the same, also with another time; one that appears is another thing."""
    data = beside / "data.csv"
    data.write_text("a,b\n1,2\n3,4\n")
    cells = [
        "other = 5",
        "text = open('data.csv').read()",
        "n = len(text.splitlines())",
        "print(n)",
        "try:\n    note = open('note.txt').read()\nexcept OSError:\n    note = None",
        "import os\nnames = sorted(os.listdir('.'))",
    ]

    assert both(cells, tmp_path, cwd=beside).ran == [*range(6)]
    assert both(cells, tmp_path, cwd=beside).ran == []
    data.write_text("a,b\n1,2\n3,4\n")
    assert both(cells, tmp_path, cwd=beside).ran == []
    data.write_text("a,b\n1,2\n3,5\n")
    assert both(cells, tmp_path, cwd=beside).ran == [1, 2]  # as many lines as before
    data.write_text("a,b\n1,2\n3,5\n6,7\n")
    assert both(cells, tmp_path, cwd=beside).ran == [1, 2, 3]
    (beside / "note.txt").write_text("hello")
    assert both(cells, tmp_path, cwd=beside).ran == [4, 5]


def test_an_environment_variable_runs_its_readers(tmp_path: Path) -> None:
    """Those that it reads count, also where it only asks whether they are there; one that a cell sets is there."""
    cells = [
        "import os",
        "a = os.environ.get('REUSE_A')",
        "b = os.getenv('REUSE_B', 'none')",
        "os.environ['REUSE_C'] = str(a)",
        "c = os.environ['REUSE_C']",
    ]

    assert both(cells, tmp_path).ran == [*range(5)]
    assert both(cells, tmp_path).ran == []
    assert both(cells, tmp_path, variables={"REUSE_OTHER": "1"}).ran == []
    assert both(cells, tmp_path, variables={"REUSE_B": "1"}).ran == [2]
    assert both(cells, tmp_path, variables={"REUSE_A": "1"}).ran == [1, 3, 4]
    assert both(cells, tmp_path).ran == []
    assert both([*cells[:3], "os.environ['REUSE_C'] = 'mine'", cells[4]], tmp_path).ran == [3, 4]


def test_a_local_module_runs_what_reaches_it(tmp_path: Path, beside: Path) -> None:
    """Also one that is imported by another; data that a cell puts into a module is seen by those after it."""
    (beside / "reuse_low.py").write_text("K = 2\ndef low(x):\n    return K * x\n")
    (beside / "reuse_high.py").write_text(
        "import reuse_low\nSEEN = []\ndef high(x):\n    return reuse_low.low(x) + 1\n"
    )
    cells = ["import reuse_high", "a = 3", "b = reuse_high.high(a)", "c = b * 2", "print(a)"]
    path = [str(beside)]

    assert both(cells, tmp_path, path=path).ran == [*range(5)]
    assert both(cells, tmp_path, path=path).ran == []
    (beside / "reuse_low.py").write_text("K = 2  # the same\ndef low(x):\n    return K * x\n")
    assert both(cells, tmp_path, path=path).ran == [0, 2]
    (beside / "reuse_low.py").write_text("K = 5\ndef low(x):\n    return K * x\n")
    assert both(cells, tmp_path, path=path).ran == [0, 2, 3]

    cells += ["reuse_high.SEEN.append(a)", "d = list(reuse_high.SEEN)"]
    assert both(cells, tmp_path, path=path).ran == [5, 6]
    found = both(cells, tmp_path, path=path)
    assert found.ran == [5]
    assert found.cells[5].doubts == ("changes data of the module reuse_high",)
    cells[5] = "reuse_high.SEEN.append(7)"
    assert both(cells, tmp_path, path=path).ran == [5, 6]


def test_a_package_that_is_upgraded_runs_what_uses_it(tmp_path: Path, beside: Path) -> None:
    """By its version, or that of what it requires; a cell that does not reach it is not concerned."""
    for name, requires in (("reuse_fake", "reuse-base"), ("reuse_base", "")):
        (beside / f"{name}.py").write_text("def f(x):\n    return x + 1\n")
        info = beside / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Name: {name}\nVersion: 1.0\n" + (f"Requires-Dist: {requires}\n" if requires else "")
        )
        (info / "RECORD").write_text(f"{name}.py,,\n")
    cells = ["import reuse_fake", "a = 3", "b = reuse_fake.f(a)", "c = b * 2", "print(a)"]
    path = [str(beside)]

    assert both(cells, tmp_path, path=path, environment=beside).ran == [*range(5)]
    assert both(cells, tmp_path, path=path, environment=beside).ran == []
    (beside / "reuse_base-1.0.dist-info").rename(beside / "reuse_base-2.0.dist-info")
    found = both(cells, tmp_path, path=path, environment=beside)
    assert found.ran == [0, 2]
    assert found.cells[2].reasons == ("reuse-base is 2.0, it was 1.0",)


def test_random_numbers_come_from_the_seed_before(tmp_path: Path) -> None:
    """A seed is set again in each run, because nobody knows what it replaces; what draws after it is reused."""
    cells = [
        "import random\nimport numpy as np",
        "random.seed(1)\nnp.random.seed(1)",
        "a = random.random(), np.random.rand()",
    ]
    cells += ["b = 1", "c = random.random()"]

    assert both(cells, tmp_path).ran == [*range(5)]
    assert both(cells, tmp_path).ran == [1]
    cells[1] = "random.seed(2)\nnp.random.seed(1)"
    assert both(cells, tmp_path).ran == [1, 2, 4]
    free = run(["import random", "a = random.random()"], tmp_path)
    again = run(["import random", "a = random.random()"], tmp_path)
    assert again.ran == [1]
    assert free.values["a"] != again.values["a"]


def test_numbers_of_a_generator_that_nobody_seeded_are_others_each_time(tmp_path: Path) -> None:
    """Also where the cell that imports its library does not run, and one before it that did has drawn some."""
    cells = ["import numpy as np", "x = 1", "a = np.random.rand()", "b = np.random.rand()"]
    runs = [run(cells, tmp_path) for _ in range(3)]

    assert [one.ran for one in runs] == [[0, 1, 2, 3], [2, 3], [2, 3]]
    assert len({one.values[name] for one in runs for name in "ab"}) == 6


@pytest.mark.parametrize(
    "libraries",
    ["numpy as np, warnings", pytest.param("numpy as np, pandas as pd, warnings", marks=pytest.mark.nightly)],
)
def test_settings_of_libraries_count(libraries: str, tmp_path: Path) -> None:
    """Options, filters of warnings and levels of loggers are what a cell may read; as they were, it is reused."""
    cells = [
        f"import {libraries}",
        "np.set_printoptions(precision=3)",
        "print(np.array([1 / 3]))",
        "warnings.simplefilter('ignore')",
        "warnings.warn('hidden')",
    ]

    assert both(cells, tmp_path).ran == [*range(5)]
    assert both(cells, tmp_path).ran == []
    cells[1] = "np.set_printoptions(precision=2)"
    assert both(cells, tmp_path).ran == [1, 2, 3, 4]
    cells[3] = "warnings.simplefilter('always')"
    assert 4 in run(cells, tmp_path).ran


DOUBTS = [
    ("import time\nt = time.time()", "uses `time`"),
    ("import time\nd = time.strftime('%H')", "uses `time`"),
    ("import time as clock\nd = clock.strftime('%H')", "clock: may ask for the time"),
    ("from time import strftime as day\nd = day('%H')", "uses `time`"),
    ("d = day('%H')", "day: may ask for the time"),
    ("import time\nnow_ = getattr(time, 'time')()", "uses `time`"),
    ("import time\nstarted = [time][0].asctime()", "uses `asctime`"),
    ("import datetime as dt\nt = dt.datetime.now()", "uses `now`"),
    ("import pandas as pd\nt = pd.Timestamp('now')", "uses `now`"),
    ("import uuid\nu = str(uuid.uuid4())", "uses `uuid`"),
    ("import os\nb = os.urandom(4)", "uses `urandom`"),
    ("import numpy as np\nr = np.random.default_rng().random()", "takes random numbers from the operating system"),
    ("import random\nr = random.Random().random()", "uses `Random`"),
    ("import random\nr = random.SystemRandom().random()", "uses `SystemRandom`"),
    ("n = id(object())", "uses `id`"),
    ("open('made.txt', 'w').write('x')", "writes to "),
    ("import os\nos.makedirs('made', exist_ok=True)", "changes files: made"),
    ("import subprocess\ns = subprocess.run(['true']).returncode", "starts a process"),
    ("!true", "uses `system`"),
    ("import os\nn = os.system('true')", "uses `system`"),
    ("import os\nthere = os.path.exists('made.txt')", "uses `exists`"),
    ("import os\nis_link = os.path.islink('made.txt')", "uses `islink`"),
    ("import socket\ns = socket.gethostname()", "uses `socket`"),
    ("g = (n for n in 'abc')", "makes g, which cannot be stored"),
    ("import threading\nthreading.Thread(target=print).start()", "uses `Thread`"),
    ("import ctypes\nn = ctypes.sizeof(ctypes.c_int)", "uses `ctypes`"),
    ("import json\njson.dumps = json.dumps", "may change a package: json.dumps"),
    ("import pandas as pd\npd.DataFrame.extra = 1", "may change a package: pd.DataFrame.extra"),
    (
        "from xml.dom import registerDOMImplementation as register\nregister('x', print)",
        "may change a package: register",
    ),
    ("%load_ext storemagic", "may change a package: %load_ext"),
    ("_ = 1\nprint(Out)", "reads what other cells have shown"),
    (
        "import polars as pl\nd = pl.DataFrame({'a': [1]}).sample(1)",
        "uses `sample`, which has random numbers of its own",
    ),
]


def test_what_may_be_another_thing_each_time_runs(tmp_path: Path) -> None:
    """Whatever it is, and why is said."""
    cells = [cell for cell, _ in DOUBTS]
    first, second = run(cells, tmp_path), run(cells, tmp_path)
    for (cell, doubt), end in zip(DOUBTS, first.cells, strict=True):
        assert any(one.startswith(doubt) for one in end.doubts), (cell, end.doubts)
    assert second.ran == [*range(len(cells))]


def test_a_cell_that_writes_to_a_file_as_memory_runs(tmp_path: Path) -> None:
    """By a view, which is what it names: the file was left as it was."""
    cells = ["import numpy\ndata = numpy.memmap('data.bin', 'u1', 'w+', shape=4)\nrow = data[1:]", "row[0] = 7"]
    for _ in range(2):
        assert run(cells, tmp_path).ran == [0, 1]
    assert (tmp_path / "data.bin").read_bytes() == bytes([0, 7, 0, 0])


def test_a_clock_in_a_local_module_is_one(tmp_path: Path, beside: Path) -> None:
    """Under whatever name the module has it; what only sleeps there is reused."""
    (beside / "reuse_clock.py").write_text(
        "import time as clock\nfrom time import strftime as day\nfrom time import sleep\n"
        "def hour():\n    return day('%H')\ndef minute():\n    return clock.strftime('%M')\n"
        "def rest():\n    sleep(0.01)\n    return 1\n"
    )
    cells = ["import reuse_clock", "h = reuse_clock.hour()", "m = reuse_clock.minute()", "r = reuse_clock.rest()"]
    run(cells, tmp_path, path=[str(beside)])
    found = run(cells, tmp_path, path=[str(beside)])
    assert found.ran == [1, 2], found.cells
    assert found.cells[1].doubts == ("reuse_clock.day: may ask for the time",)


def test_a_cell_that_only_sleeps_does_not_sleep_again(tmp_path: Path) -> None:
    """The module of clocks is needed for that, whose other functions are another thing each time."""
    cells = [
        "import os, time\ntime.sleep(0.01)\nk = 3",
        "from time import sleep\nsleep(0.01)\nprint(k)",
        "def wait(seconds):\n    time.sleep(seconds)\n    return seconds",
        "waited = wait(0.01)\nwaited",
        "now = time.time",
        "later = now() > 0",
    ]
    assert both(cells, tmp_path).ran == [*range(6)]
    assert both(cells, tmp_path).ran == [4, 5]


@pytest.mark.nightly
def test_what_may_be_another_thing_each_time_runs_inside_a_method_too(tmp_path: Path) -> None:
    """Of a class that a cell calls."""
    inside = []
    for number, (cell, _) in enumerate(DOUBTS):
        if not cell.startswith(("%", "!", "_", "g =", "d = day")):  # `day` is of the cell before it
            lines = "\n".join(f"        {line}" for line in cell.splitlines())
            inside += [
                f"class A{number}:\n    def go(self):\n{lines}",
                f"a{number} = [A{number}()]",
                f"x = repr(a{number}[0].go())",
            ]
    run(inside, tmp_path)
    found = run(inside, tmp_path)
    assert [(inside[at - 2], found.cells[at]) for at in range(2, len(inside), 3) if at not in found.ran] == []


def test_a_cell_that_may_change_a_package_runs_what_follows_when_it_changes(tmp_path: Path) -> None:
    """It runs each time; those after it run when its text or its inputs are others."""
    cells = ["import json", "k = 1", "json.option = k", "x = 5", "y = json.option"]

    assert both(cells, tmp_path).ran == [*range(5)]
    assert both(cells, tmp_path).ran == [2]
    cells[1] = "k = 2"
    assert both(cells, tmp_path).ran == [1, 2, 3, 4]
    cells[2] = "json.option = 7"
    assert both(cells, tmp_path).ran == [2, 3, 4]


def test_a_session_that_was_lost_goes_on_with_reuse(tmp_path: Path) -> None:
    """Its record has all that is known of it."""
    cells = ["import random, json", "random.seed(3)", "json.option = 1", "a = random.random()", "b = a, json.option"]
    first = run(cells, tmp_path)
    for number in range(4):
        found = run(cells, tmp_path, lost_after=number)
        assert found.values == first.values
        assert found.ran[:2] == [1, 2]


ATOM = st.sampled_from(
    ["1", "2", "a", "b", "c", "d", "[a, b]", "[1]", "{'k': c}", "np.arange(3)", "f(a)", "len(repr(b))"]
)
NAME = st.sampled_from(["a", "b", "c", "d"])
STATEMENT = st.one_of(
    st.builds("{} = {}".format, NAME, ATOM),
    st.builds("{} = {}".format, NAME, ATOM),
    st.builds("if isinstance({0}, list): {0}.append({1})".format, NAME, st.sampled_from(["0", "9", "d"])),
    st.builds("print(repr({}))".format, NAME),
    st.builds("{}".format, NAME),
    st.builds("def f(x):\n    return [x, {}]".format, st.sampled_from(["a", "b", "1", "K"])),
    st.builds("K = {}".format, st.sampled_from(["1", "2"])),
    st.builds("print(a is b, b is c, c is d)".format),
    st.builds("if isinstance({0}, dict): {0}['n'] = {1}".format, NAME, ATOM),
    st.builds("if isinstance({0}, np.ndarray): {1} = {0}[1:]; {0}[1] = 7".format, NAME, NAME),
    st.builds("random.seed({})".format, st.sampled_from(["1", "2"])),
    st.builds("{} = random.random()".format, NAME),
    st.builds("del d; d = {}".format, st.sampled_from(["1", "[1]", "a"])),
    st.builds("T.n = {}\n{} = T()".format, st.sampled_from(["1", "2"]), NAME),
    st.builds("if isinstance({0}, T): print({0}.n)".format, NAME),
    st.builds("exec('{} = 5')".format, NAME),
)
CELL = st.lists(STATEMENT, min_size=1, max_size=3).map("\n".join)
START = """import random
import numpy as np
random.seed(0)
a = b = c = d = 0
K = 1
def f(x):
    return [x]
class T:
    n = 0
    def __repr__(self): return f'T{self.n}'"""
FOUND = (Phase.explicit, Phase.reuse, Phase.generate)  # making an example smaller runs it a hundred times


def check_edits(cells: list[str], edits: list[tuple[int, str]], folder: Path) -> None:
    """Run a notebook and then edit it; each time all is as if no cell had been reused."""
    now = [START, *cells]
    both(now, folder)
    for at, text in edits:
        now[1 + at % len(cells)] = text
        both(now, folder)


@settings(max_examples=2, phases=FOUND, deadline=None, suppress_health_check=[*HealthCheck])
@given(
    cells=st.lists(CELL, min_size=2, max_size=6),
    edits=st.lists(st.tuples(st.integers(0, 9), CELL), min_size=1, max_size=3),
)
def test_an_edited_notebook_is_as_if_run_anew(cells: list[str], edits: list[tuple[int, str]]) -> None:
    """Values, what is shared, and outputs."""
    with tempfile.TemporaryDirectory() as folder:
        check_edits(cells, edits, Path(folder))


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@settings(max_examples=300, phases=FOUND, deadline=None, suppress_health_check=[*HealthCheck])
@given(
    cells=st.lists(CELL, min_size=2, max_size=6),
    edits=st.lists(st.tuples(st.integers(0, 9), CELL), min_size=1, max_size=3),
)
def test_many_edited_notebooks_are_as_if_run_anew(cells: list[str], edits: list[tuple[int, str]]) -> None:
    """Values, what is shared, and outputs."""
    with tempfile.TemporaryDirectory() as folder:
        check_edits(cells, edits, Path(folder))


def test_a_cell_that_may_fail_runs_each_time_and_one_that_fails_leaves_what_it_did(tmp_path: Path) -> None:
    """What it did before its failing line is there either way; nothing of it is kept for later runs."""
    cells = ["x = [1]", "x.append(2)\nx / 0", "n = len(x)\nn"]
    first = both(cells, tmp_path, may_raise=True)
    second = both(cells, tmp_path, may_raise=True)

    assert (first.ran, second.ran) == ([0, 1, 2], [1])
    assert second.cells[1].doubts == ("raises an exception",)
    assert second.values["n"] == 2

    for ran in ([0], []):
        cells[0] = "x = [1, 2]"
        found = run(cells, tmp_path)
        assert (len(found.cells), found.ran, found.values["x"]) == (1, ran, [1, 2, 2])


def test_what_a_cell_has_shown_may_share_objects_with_names(tmp_path: Path) -> None:
    """It is stored with them, is no name that the next cell reads, and is another value after that."""
    cells = [
        "def bank():\n    kept = []\n    def add(n):\n        kept.append(n)\n    return add, lambda: kept",
        "add, look = bank()\nrows = [[1], [2]]\nrows[0]",
        "add(7), look()",
        "look()",
        "rows[1].append(len(look()))\nrows[1]",
        "rows, look()",
    ]

    first = run(cells, tmp_path)
    second = run(cells, tmp_path)
    edited = run([*cells[:3], "look().append(8)\nlook()", *cells[4:]], tmp_path)
    plain = run([*cells[:3], "look().append(8)\nlook()", *cells[4:]], tmp_path, reuse=False)

    assert second.shown == first.shown
    assert second.values == first.values
    assert edited.shown == plain.shown
    assert edited.values == plain.values


def test_classes_and_functions_that_name_no_module_are_compared(tmp_path: Path) -> None:
    """As sympy's functions do."""
    cells = [
        "import sympy\nt = sympy.Symbol('t')\nf = sympy.Function('f')\nterm = f(t) + 1",
        "double = lambda x: 2 * x\ndouble.__module__ = None\ntwice = [double(term)]",
        "twice, term.diff(t)",
    ]

    first = run(cells, tmp_path)
    second = run(cells, tmp_path)
    edited = run([*cells[:1], f"{cells[1]}\ntwice.append(f(2))", cells[2]], tmp_path)
    plain = run([*cells[:1], f"{cells[1]}\ntwice.append(f(2))", cells[2]], tmp_path, reuse=False)

    assert second.shown == first.shown
    assert edited.shown == plain.shown


KEPT = {
    "stream of a handler": (
        [
            "import logging, io\nstream = io.StringIO()",
            "logging.basicConfig(level=20, format='%(message)s', stream=stream, force=True)",
            "logging.info('one')",
            "log = logging.getLogger('a.b')\nlog.warning('two')",
            "stream.getvalue()",
        ],
        (2, "logging.info('uno')"),
    ),
    "handler of a logger": (
        [
            "import logging, io\nlog = logging.getLogger('a.c')\nlog.propagate = False",
            "stream = io.StringIO()\nhandler = logging.StreamHandler(stream)",
            "log.addHandler(handler)",
            "log.warning('one')",
            "stream.getvalue().split()",
        ],
        (3, "log.warning('two')"),
    ),
    "attribute of a package": (
        [
            "import json\nrows = []\njson.rows = rows",
            "def add(n):\n    json.rows.append(n)",
            "add(1)",
            "x = 1",
            "rows",
        ],
        (2, "add(2)"),
    ),
    "function that a package calls": (
        ["import json\nrows = []\ndef add(n):\n    rows.append(n)\njson.use = add", "json.use(1)", "rows"],
        (1, "json.use(2)"),
    ),
}


@pytest.mark.parametrize("kind", KEPT)
def test_what_a_package_has_kept_may_be_changed_by_cells_that_do_not_name_it(kind: str, tmp_path: Path) -> None:
    """So nothing after it is reused: an object that is loaded would be another one than the package's."""
    cells, (at, text) = KEPT[kind]
    edited = [*cells[:at], text, *cells[at + 1 :]]

    for notebook in (cells, cells, edited, [*edited, "len(str(1))"]):
        with_reuse = run(notebook, tmp_path)
        plain = run(notebook, tmp_path, reuse=False)
        assert with_reuse.shown == plain.shown


def test_settings_without_objects_of_the_notebook_let_later_cells_be_reused(tmp_path: Path) -> None:
    """The usual first cell of a notebook."""
    cells = [
        "import json, logging\nlogging.basicConfig(level=logging.INFO)\njson.option = 'a'\njson.other = (1, 'b')",
        "x = [1]",
        "x.append(2)\nx",
    ]
    run(cells, tmp_path)

    assert run(cells, tmp_path).ran == [0]


@pytest.mark.parametrize("reuse", [False, True])
def test_what_cells_change_by_printing_and_logging_is_stored(reuse: bool, tmp_path: Path) -> None:
    """They name neither the stream nor the list behind a handler."""
    cells = [
        "import io, logging, sys\nstream, printed = io.StringIO(), io.StringIO()\nrows, other = [], [1]",
        "class Rows(logging.Handler):\n    def emit(self, record):\n        rows.append(record.getMessage())",
        "log = logging.getLogger('a.d')\nlog.addHandler(logging.StreamHandler(stream))",
        "log.warning('one')",
        "log.addHandler(Rows())",
        "log.warning('two')",
        "own, sys.stdout = sys.stdout, printed",
        "print('three')",
        "sys.stdout = own\ntext, lines = stream.getvalue(), [*rows]",
    ]

    before = run(cells[:4], tmp_path, reuse=reuse)
    for number in range(5, 10):
        found = run(cells[:number], tmp_path, reuse=reuse).values

    assert before.values["stream"].getvalue() == "one\n"
    assert run(cells[:6], tmp_path, reuse=reuse).values["rows"] == ["two"]
    assert found["text"] == "one\ntwo\n"
    assert found["lines"] == ["two"]
    assert found["printed"].getvalue() == "three\n"


MAKE = """def make(n=0):
    def up(by=1):
        nonlocal n
        n += by
        return n
    def read(): return n
    return up, read"""
CAUGHT_UP = {
    "class": (
        [
            "class A:\n    n = 0\n    rows = []",
            "A.n += 1\nA.rows.append(1)",
            "A.n += 1",
            "A.n += 1\nA.rows.append(A.n)",
            "A.n, A.rows",
        ],
        (2, "A.n += 10"),
    ),
    "instance and its class": (
        [
            "class A:\n    all = []\na = A()\nA.all.append(a)",
            "a.n = 1",
            "A.all.append(2)",
            "a.n += 1",
            "a.n, A.all[0] is a",
        ],
        (2, "A.all.append(3)"),
    ),
    "closures": (
        [
            MAKE,
            "up, read = make(5)",
            "up(), up(10)",
            "adders = [lambda x, n=n: x + n for n in range(3)]",
            "up(100), read()",
            "[add(1) for add in adders], read()",
            "up(), read()",
            "up(), read()",
        ],
        (5, "[add(2) for add in adders], read()"),
    ),
    "closures in a list": (
        [
            MAKE,
            "both = [*make()]\nup = both[0]",
            "up(2)",
            "both[1]()",
            "up(3), both[1]()",
        ],
        (3, "both[1]() + 1"),
    ),
    "function that calls itself": (
        [
            "def make():\n  seen = []\n  def f(n):\n    seen.append(n); return f(n - 1) if n else seen\n  return f",
            "f = make()",
            "f(2)",
            "len(f(0))",
            "f(1)",
            "f(0)",
        ],
        (3, "len(f(0)) + 1"),
    ),
    "attributes and defaults of a function": (
        ["def f(x=[1]): return x\nf.n = 1", "f().append(2)", "f.n += 1", "f(), f.n", "f().append(f.n)", "f(), f.n"],
        (2, "f.n += 5"),
    ),
    "order of names": (
        [
            "for n in (2, 0, 1): globals()[f'column_{n}'] = [n]",
            "b = a = column_1",
            "total = sum(map(len, (a, column_0)))",
            "[name for name in globals() if name[:2] in ('co', 'b', 'a', 'to')]",
            "del b; b = 1; c = [a]",
            "first = [name for name in globals() if name[:2] in ('co', 'a', 'to', 'c')]",
            "first, column_0",
        ],
        (2, "total = sum(map(len, (a, column_2)))"),
    ),
    "cached function": (
        [
            "from functools import cache\ncalls = []\n@cache\ndef f(x):\n    calls.append(x)\n    return [x]",
            "f(1)",
            "f(2), len(calls)",
            "f(1), f(3), len(calls)",
            "f(2).append(0)\nf(2), f.cache_info().hits",
        ],
        (3, "f(1), f(4), len(calls)"),
    ),
}


@pytest.mark.parametrize(
    "edit", ["twice", *(pytest.param(one, marks=pytest.mark.nightly) for one in ("middle", "first"))]
)
@pytest.mark.parametrize("kind", CAUGHT_UP)
def test_code_with_a_state_goes_on_from_where_it_would_be(kind: str, edit: str, tmp_path: Path) -> None:
    """Some cells run, others do not: the objects in the process and those that are loaded are one."""
    cells, (at, text) = CAUGHT_UP[kind]
    edited = [*cells[:at], text, *cells[at + 1 :]]
    notebooks = {
        "middle": [edited],
        "first": [[f"{cells[0]}\n# edited", *cells[1:]], [f"{cells[0]}\n# edited", *edited[1:]]],
        "twice": [[*edited[:-1], f"{cells[-1]}\n# edited"], [*cells[:-1], f"{cells[-1]}\n# again"]],
    }[edit]

    for notebook in (cells, *notebooks):
        assert run(notebook, tmp_path).shown == run(notebook, tmp_path, reuse=False).shown


def test_a_magic_that_a_cell_registers_is_there_when_others_do_not_run(tmp_path: Path) -> None:
    """A decorator is a call, too."""
    cells = [
        "from IPython.core.magic import register_line_magic",
        "@register_line_magic\ndef double(line):\n    return int(line) * 2",
        "%double 21",
    ]
    first = run(cells, tmp_path)

    assert run(cells, tmp_path).shown == first.shown


def test_a_value_that_raises_whatever_it_is_asked_is_one_like_others(tmp_path: Path) -> None:
    """A cell failed by its `__getattr__`, which the cell never called."""
    wild = "class Wild:\n    def __getattr__(self, name): raise RuntimeError(name)"
    for _ in range(2):
        both([wild, "wild = Wild()", "n = 1", "rows = [wild, n]\nlen(rows)"], tmp_path)


def test_the_notebook_itself_is_found_after_a_cell_that_was_reused(tmp_path: Path) -> None:
    """The name of the module was bound to the process's own one, and what was set there was in no cell."""
    for n in (5, 6):
        both(["import __main__", "x = 1", f"__main__.fresh = {n}", "fresh + x"], tmp_path)


@pytest.mark.parametrize(
    ("first", "then", "shown"),
    [
        ("random.seed({})", "random.seed(2)", "random.random()"),
        ("np.random.seed({})", "np.random.seed(2)", "np.random.rand()"),
        ("os.environ['LAW_X'] = '{}'", "os.environ['LAW_X'] = '2'", "os.environ['LAW_X']"),
        (
            "os.environ['LAW_X'] = '{}'",
            "os.environ.pop('LAW_X', None)\nos.environ['LAW_X'] = '2'",
            "os.environ['LAW_X']",
        ),
        ("np.set_printoptions(precision={})", "np.set_printoptions(precision=2)", "np.array([1 / 3])"),
        (
            "logging.getLogger('law').setLevel({}0)",
            "logging.getLogger('law').setLevel(20)",
            "logging.getLogger('law').level",
        ),
        (
            "warnings.simplefilter('ignore' if {} > 2 else 'error')",
            "warnings.simplefilter('error')",
            "warnings.filters[0][0]",
        ),
        ("gc.set_threshold({}00)", "gc.set_threshold(200)", "gc.get_threshold()"),
        ("decimal.getcontext().prec = {}", "decimal.getcontext().prec = 2", "decimal.Decimal(1) / 3"),
        ("rows[0] = {}", "rows[0] = 2", "rows"),
        ("Box.n = {}", "Box.n = 2", "Box.n"),
        ("f.n = {}", "f.n = 2", "f.n"),
        ("os.chdir('/' if {} > 2 else '/tmp')", "os.chdir('/tmp')", "os.getcwd()"),
        ("sys.setrecursionlimit({}000)", "sys.setrecursionlimit(2000)", "sys.getrecursionlimit()"),
    ],
)
def test_what_sets_something_as_it_was_runs_where_it_was_otherwise(
    first: str, then: str, shown: str, tmp_path: Path
) -> None:
    """It changed nothing the first time, and was taken for a cell that has no effect."""
    start = "import decimal, gc, logging, os, random, sys, warnings, numpy as np\nrows = [0]\nclass Box: n = 0"
    for n in (2, 3):
        both([start, "def f(): ...", first.format(n), then, shown], tmp_path)
