"""Which cells run after one that failed: only those of which it is shown that they need nothing of it."""

from __future__ import annotations

import io
import logging
import sys
import types
from pathlib import Path

import pytest
from msgspec.structs import replace

from covalab.blobs import BlobStore
from covalab.core.cell_source import remember
from covalab.jupyter.runs.building import cell_text, run_cells
from covalab.jupyter.runs.cell_options import CellOptions
from covalab.jupyter.runs.document import CodeCell
from covalab.namespace.covariables import Tracker
from covalab.worker.session.beside_plan import Plan
from covalab.worker.session.cell_text import CellText
from covalab.worker.session.independence import SessionNames, broken, dependence, without_rebound
from covalab.worker.session.record import RecordState

_FIRST = """import io, logging, math, os, random, sys
import numpy as np
import pandas as pd
import matplotlib.pyplot as plt
table = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
array = np.arange(6.0)
part = array[:2]
rows = [1, 2]
nested = [[1], [2]]
alias = nested[0]
pair = (1, [2])
k = 2
words = {"a": 1}
def scaled(x):
    return x * k
def grow():
    rows.append(3)
def counter():
    n = 0
    def up():
        nonlocal n
        n += 1
        return n
    def read():
        return n
    return up, read
up, read = counter()
class Box:
    size = 1
    def __init__(self):
        self.inside = nested
    def note(self):
        Box.size += 1
box = Box()
log = io.StringIO()
never = (n for n in rows)
"""


class Session:
    """Names of a session whose first cell has run, and cells after it."""

    def __init__(self, folder: Path) -> None:
        self.namespace: dict[str, object] = {"__name__": "__main__", "__builtins__": __builtins__}
        remember("<first>", _FIRST)
        exec(compile(_FIRST, "<first>", "exec"), self.namespace)
        self.tracker = Tracker(self.namespace)
        self.snapshot = self.tracker.store(BlobStore(str(folder)))

    def cells(self, *texts: str) -> list[CellText]:
        """Return cells as a session runs them."""
        found = run_cells([(CodeCell(n, f"c{n}", text, {}), CellOptions()) for n, text in enumerate((_FIRST, *texts))])
        return [cell_text(one, n) for n, one in enumerate(found, 1)][1:]

    def reason(self, failed: str, *others: str, is_restored: bool = False) -> str:
        """Return why the last cell is not run after one that failed; those between were not run or have run."""
        tracker = Tracker(self.namespace) if is_restored else self.tracker
        first, *between, last = self.cells(failed, *others)
        state = RecordState(0, "", self.snapshot)
        state.broken.append(broken(2, first, SessionNames(self.namespace, tracker, state), has_failed=True))
        for number, cell in enumerate(between, 3):
            names = SessionNames(self.namespace, tracker, state)
            if dependence(cell, names):
                state.broken.append(broken(number, cell, names, has_failed=False))
            else:
                state.broken[:] = without_rebound(state.broken, cell)
        return dependence(last, SessionNames(self.namespace, tracker, state))

    def wait(self, *texts: str) -> str:
        """Return why the last of some cells does not run beside the first, which is about to run."""
        plan = Plan(self.namespace, self.tracker, RecordState(0, "", self.snapshot))
        return [plan.add(number, replace(cell, parallel=True)) for number, cell in enumerate(self.cells(*texts), 2)][-1]


@pytest.fixture(autouse=True)
def no_modules_of_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the modules of tests, whose data would count as those of local modules: a task process has none."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
        monkeypatch.delitem(sys.modules, name)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """Return a session; its names are not changed."""
    main = types.ModuleType("__main__")
    own, sys.modules["__main__"] = sys.modules["__main__"], main
    try:
        return Session(tmp_path_factory.mktemp("blobs"))
    finally:
        sys.modules["__main__"] = own


@pytest.mark.parametrize(
    ("failed", "cell"),
    [
        ("total = 1 / 0", "print(k)"),
        ("table.describe()\n1 / 0", "table['a'].sum()"),
        ("print(table['a'].mean(), len(rows))\nraise ValueError", "rows.append(4); table['c'] = 1"),
        ("if (array > 2).any(): raise ValueError", "part[0] = 9"),
        ("np.mean(array) / no_such_name", "array.sum()"),
        ("x = scaled(3)\n1 / 0", "y = scaled(4)"),
        ("y = [n for n in rows]\n1 / 0", "for n in rows: print(n)"),
        ("random.seed(1)\n1 / 0", "print(table)"),
        ("plt.rcParams['lines.linewidth'] = 3\n1 / 0", "k + 1"),
        ("open('x.txt', 'w').write('a')\n1 / 0", "k + 1"),
        ("for i in range(3): 1 / 0", "for i in range(2): print(i)"),
        ("m = math.sqrt(-1)", "math.sqrt(4)"),
    ],
)
def test_what_needs_nothing_of_the_failure_runs(session: Session, failed: str, cell: str) -> None:
    """Reading the same names is no need, nor is setting a name that the failed cell would have set."""
    assert session.reason(failed, cell) == ""


@pytest.mark.parametrize(
    ("failed", "cell", "reason"),
    [
        ("total = 1 / 0", "print(total)", "follows from cell 2, which failed: it uses `total`"),
        ("raise ValueError\nimport json", "json.dumps(1)", "uses `json`"),  # code that is never reached
        ("raise ValueError\nclass Later: pass", "Later()", "uses `Later`"),
        ("1 / 0\nwith open('f') as f, open('g') as g: pass", "g", "uses `g`"),
        ("k = 1 / 0", "scaled(3)", "uses `k`"),
        ("1 / 0\nk += 1", "def later():\n    return scaled(1)\nlater()", "uses `k`"),
        ("rows.append(1 / 0)", "sum(rows)", "may change"),
        ("view = table['a']\n1 / 0", "table", "may change"),
        ("1 / 0\ntable.dropna(inplace=True)", "table", "may change"),
        ("1 / 0\narray[0] = 3", "part", "may change"),
        ("alias.append(1 / 0)", "nested", "may change"),
        ("alias.append(1 / 0)", "box.inside", "may change"),
        ("pair[1].append(1 / 0)", "pair", "may change"),
        ("1 / 0\ngrow()", "rows", "may change"),
        ("1 / 0\nup()", "up()", "may change"),
        ("1 / 0\nup()", "read()", "may change"),
        ("1 / 0\nlist(map(up, rows))", "read()", "may change"),
        ("1 / 0\nscaled(*rows, up)(1)", "read()", "may change"),
        ("1 / 0\nlist(map(lambda one: one.append(1), nested))", "nested", "may change"),
        ("1 / 0\nbox.note()", "Box.size", "may change"),
        ("1 / 0\nBox.size = 3", "box.size", "may change"),
        ("1 / 0\nscaled.calls = 3", "scaled.calls", "may change"),
        ("1 / 0\nsetattr(words, 'x', 1)", "words", "may change"),
        ("1 / 0\nnp.random.rand()", "np.random.rand()", "random state"),
        ("random.shuffle(rows)\n1 / 0", "random.random()", "random state"),
        ("np.set_printoptions(precision=1)\n1 / 0", "print(array)", "settings"),
        ("os.environ['X'] = str(1 / 0)", "print(k / 3)", "settings"),
        ("table.to_csv('x.csv')\n1 / 0", "pd.read_csv('x.csv')", "files"),
        ("1 / 0\nnext(never)", "sum(rows)", "cannot be stored"),
        ("exec('k = 1 / 0')", "print(k)", "it may use any name"),
        ("1 / 0", "eval('total')", "it may use any name"),
        ("1 / 0", "_ + 1", "what other cells have shown"),
        ("%time 1 / 0", "print(k)", "any name"),
        ("def broken(:", "print(k)", "not Python alone"),
        ("import subprocess\nsubprocess.run('false', check=True)", "print(k)", "uses `subprocess`"),
        ("math.pi = 1 / 0", "math.pi", "may change a package"),
        ("sys.stdout = 1 / 0", "print(1)", "nothing can be told"),
    ],
)
def test_what_may_need_something_is_not_run(session: Session, failed: str, cell: str, reason: str) -> None:
    """Whatever a whole run of the failed cell could have changed, and what cannot be told."""
    assert reason in session.reason(failed, cell)


@pytest.mark.parametrize(
    ("before", "cell"),
    [
        ("total = sum(rows)", "print(scaled(3))"),
        ("x = scaled(3)", "y = table.apply(len)"),
        ("def f(x): return x\nx = f(rows)", "y = [n * 2 for n in rows]"),  # it is compared when its turn comes
        ("np.random.rand()", "y = scaled(4)"),
        ("open('x.txt', 'w').write('a')", "y = scaled(4)"),
        ("x = 1", "k += len(rows)"),
        ("import math\nx = math.sqrt(2)", "import math\ny = math.sqrt(3)"),
        ("plt.plot([1])", "words = dict(words, b=scaled(2))"),
    ],
)
def test_what_needs_nothing_of_a_cell_runs_beside_it(session: Session, before: str, cell: str) -> None:
    """A value that is only handed to a function is hoped to be as it was."""
    assert session.wait(before, cell) == ""


@pytest.mark.parametrize(
    ("before", "cell", "reason"),
    [
        ("k = 3", "y = scaled(4)", "after cell 2: it uses `k`, which that cell sets"),
        ("x = 3", "x = scaled(4)", "after cell 2: both set `x`"),
        ("import json", "import json\nlen(str(json))", "after cell 2: both set `json`"),
        ("rows.append(1)", "sum(rows)", "after cell 2: it uses `rows`, which that cell may change"),
        ("array[0] = 9", "part.sum()", "may change"),
        ("nested[0] += [3]", "str(box)", "may change"),
        ("table['c'] = 1", "table.sum()", "may change"),
        ("np.set_printoptions(precision=1)", "print(array)", "may read settings"),
        ("table.to_csv('x.csv')", "pd.read_csv('x.csv')", "may read files"),
        ("exec('k = 1')", "print(len(rows))", "of that cell nothing can be told"),
        ("os.wait()", "print(len(rows))", "uses `wait`"),
        ("x = 1", "open('x.txt', 'w').write('a')", "in its turn: it may write files"),
        ("x = 1", "np.random.seed(1)", "may draw random numbers"),
        ("x = 1", "rows.sort()", "in its turn: it changes `rows` in place"),
        ("x = 1", "rows += [len(rows)]", "in its turn: it changes `rows` in place"),
        ("x = 1", "grow()", "in its turn: it changes `rows` in place"),
        ("x = 1", "print(next(never))", "cannot be stored"),
        ("x = 1", "import time\nprint(time.time())", "uses `time`"),
        ("x = 1", "print(_)", "what other cells have shown"),
        ("x = 1", "def f(): return scaled(1)", "defines functions"),
        ("x = 1", "del words\nscaled(1)", "it deletes something"),
        ("x = 1", "y = 2", "it has little to do"),
        ("x = 1", "import subprocess\nsubprocess.run('true')", "uses `subprocess`"),
        ("x = 1", "%time scaled(1)", "any name"),
    ],
)
def test_what_may_need_something_of_a_cell_waits(session: Session, before: str, cell: str, reason: str) -> None:
    """Names, values, settings, files; and whatever is seen outside of the process waits for its turn."""
    assert reason in session.wait(before, cell)


def test_what_logs_go_to_may_be_changed_by_any_cell(session: Session) -> None:
    """A cell read the lines of the log, in which those of the failed one were missing."""
    assert session.reason("logging.warning(1 / 0)", "log.getvalue()") == ""
    log = session.namespace["log"]
    assert isinstance(log, io.StringIO)
    handler = logging.StreamHandler(log)
    logging.getLogger("of.this.test").addHandler(handler)
    try:
        assert "may change" in session.reason("logging.warning(1 / 0)", "log.getvalue()")
        assert session.reason("logging.warning(1 / 0)", "k + 1") == ""
    finally:
        logging.getLogger("of.this.test").removeHandler(handler)


def test_cells_that_were_not_run_count_too(session: Session) -> None:
    """What they would have done is missing as well; a name that is set anew is there again."""
    assert "follows from cell 3, which was not run" in session.reason("a = 1 / 0", "b = a", "print(b)")
    assert session.reason("a = 1 / 0", "b = a", "a = 1", "print(a)") == ""
    assert "`b`" in session.reason("a = 1 / 0", "b = a", "a = 1", "print(a, b)")
    assert session.reason("i = 1 / 0", "for i in rows: pass", "print(i)") != ""  # `rows` may be empty
    assert "`up`" in session.reason("a = 1 / 0", "scaled(up() + a)", "up()")
    # A function that is not there might have done anything.
    assert "`f`" in session.reason("def f(x): 1 / 0\nf(1)", "f(table)", "k + 1")
    assert session.reason("number = 1 / 0", "number + k", "k + 1") == ""


@pytest.mark.parametrize(
    ("failed", "cell"),
    [
        ("array[0] = 1 / 0", "part"),
        ("alias.append(1 / 0)", "box.inside"),
        ("1 / 0\nup()", "read()"),
        ("1 / 0\nbox.note()", "Box.size"),
    ],
)
def test_what_objects_share_is_known_in_another_process(session: Session, failed: str, cell: str) -> None:
    """A session that was restored there has looked at no name yet."""
    assert "may change" in session.reason(failed, cell, is_restored=True)
    assert session.reason(failed, "print(k)", is_restored=True) == ""
