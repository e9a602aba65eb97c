"""Names are stored after each cell, and restored as they were, with what they share."""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.namespace.peer import Peer

from covalab.blobs import BlobStore
from covalab.core.errors import DataFolderError
from covalab.namespace.covariables import Snapshot, Tracker, is_hidden, restore

# Cells, and expressions that must be equal after the names were restored in another process.
CASES: dict[str, tuple[list[str], list[str]]] = {
    "model with a formula": (
        [
            "import pandas as pd, statsmodels.formula.api as smf\ndef centred(x): return x - x.mean()",
            "data = pd.DataFrame({'x': [1.0, 2, 3, 5], 'y': [2.0, 3, 5, 8]})",
            "afit = smf.ols('y ~ centred(x)', data).fit()",
        ],
        ["afit.params.round(3).tolist()", "afit.predict(data).round(3).tolist()"],
    ),
    "object that has every attribute": (
        ["from unittest.mock import call", "c = call.load(1)", "d = [c]"],
        ["c == call.load(1)", "d[0] is c"],
    ),
    "alias": (["a = [1]", "b = a", "b.append(2)"], ["a", "a is b"]),
    "element": (["rows = {'a': [1]}", "x = rows['a']", "x.append(2)"], ["rows", "rows['a'] is x"]),
    "view": (["import numpy as np\na = np.zeros(4)", "b = a[:2]", "b[0] = 9"], ["a", "b.base is a"]),
    "array of a table's own memory": (
        [
            "import pandas as pd, numpy as np\nt = pd.DataFrame({'k': list('aab'), 'x': [1.0, 2.0, 3.0]})",
            "a = t['x'].to_numpy()\nu = t[['k']]",
            "t.loc[t.k == 'a', 'x'] = 7",
        ],
        ["a.tolist()", "t.x.tolist()", "t.iloc.__setitem__((2, 1), 9.0) or a.tolist()"],
    ),
    "transposed": (["import numpy as np\na = np.zeros((2, 3))", "t = a.T", "t[2, 1] = 1"], ["a", "t"]),
    "attribute of an object": (
        ["class N: ...\nn = N(); n.data = [1]", "d = n.data", "d.append(2)"],
        ["n.data", "n.data is d", "isinstance(n, N)"],
    ),
    "class attribute set later": (["class C: n = 1\nc = C()", "C.n = 5"], ["c.n", "C.n", "type(c) is C"]),
    "class attribute set by a method": (
        ["class C:\n    made = 0\n    def __init__(self): C.made += 1", "a = C()", "b = [C() for _ in range(3)]"],
        ["C.made", "all(type(x) is C for x in b)"],
    ),
    "class with a list": (["class C: items = []\ni = C.items", "C().items.append(1)"], ["C.items", "i is C.items"]),
    "class defined again": (
        ["class C:\n    def v(self): return 1\nold = C()", "class C:\n    def v(self): return 2\nnew = C()"],
        ["old.v()", "new.v()", "type(new) is C", "type(old) is C"],
    ),
    "method that is replaced and put back": (
        [
            "class R:\n    speed = 1\n    def move(self): return self.speed\nr = R()",
            "original = R.move\ndef fast(self): return original(self) * 10\nR.move = fast",
            "R.move = original\nR.speed = 5",
        ],
        ["r.move()", "fast(r)", "R.move is original", "R.speed"],
    ),
    "classes that refer to each other no longer": (
        [
            "class A: n = 1\nclass B: n = 1\nA.other = B\nB.other = A",
            "B.other = None\nA.other = None\nA.n = 2",
            "B.n = 3",
        ],
        ["A.n", "B.n", "A.other", "B.other"],
    ),
    "class built up": (
        ["class C: ...\nc = C()", "def area(self): return self.w * k\nC.area = area", "c.w = 3\nk = 2", "k = 5"],
        ["c.area()"],
    ),
    "base class changed": (
        ["class A: tag = 'a'", "class B(A): ...\nb = B()", "A.tag = 'changed'"],
        ["b.tag", "B.__mro__[1] is A"],
    ),
    "function that changes a global": (
        ["seen = []\ndef note(x): seen.append(x)", "note(1)", "note(2)"],
        ["seen", "note.__globals__ is globals()"],
    ),
    "method that changes a global": (
        ["log = []\nclass L:\n    def add(self): log.append(1)\nl = L()", "l.add()", "l.add()"],
        ["log"],
    ),
    "function that rebinds a global": (["n = 0\ndef up():\n    global n\n    n += 1", "up()", "up()"], ["n"]),
    "closure": (
        [
            "def make():\n    n = 0\n    def up():\n        nonlocal n; n += 1\n        return n\n    return up",
            "up = make()\nother = up",
            "up()",
            "other()",
        ],
        ["up()", "other()", "up is other"],
    ),
    "memo of a function": (
        ["def fib(n, memo={}):\n    memo[n] = n\n    return memo", "m = fib(1)", "fib(2)"],
        ["m", "fib(3) is m"],
    ),
    "iterator over a list": (["l = [1, 2, 3]\nit = iter(l)", "next(it)", "l.append(4)"], ["list(it)", "l"]),
    "cycle": (["a = []\nb = [a]", "a.append(b)"], ["a[0] is b and b[0] is a"]),
    "tables": (
        ["import pandas as pd\ndf = pd.DataFrame({'x': [1, 2]})", "e = df\ns = df['x']", "e['y'] = 3"],
        ["df", "s", "df is e"],
    ),
    "estimator": (
        [
            "from sklearn.linear_model import LinearRegression\nimport numpy as np\nm = LinearRegression()",
            "models = {'a': m}",
            "m.fit(np.arange(3.0).reshape(-1, 1), np.arange(3.0))",
        ],
        ["models['a'].coef_", "models['a'] is m"],
    ),
    "figure and axes": (
        [
            "import matplotlib; matplotlib.use('agg')\nimport matplotlib.pyplot as plt\nfig, ax = plt.subplots()",
            "ax.plot([1, 2])",
            "ax.set_title('t')",
        ],
        ["len(fig.axes[0].lines)", "fig.axes[0] is ax", "ax.get_title()", "plt.get_fignums() != [] or True"],
    ),
    "generator of numbers": (
        ["import numpy as np\nrng = np.random.default_rng(1)", "a = rng.random()", "b = rng.random()"],
        ["rng.random()", "a", "b"],
    ),
    "names are exchanged": (["a = [1]\nb = [2]", "a, b = b, a"], ["a", "b"]),
    "no longer shared": (["a = [1]\nb = a", "b = list(a)", "b.append(2)"], ["a", "b"]),
    "deleted": (["a = [1]\nb = a", "del a", "b.append(2)"], ["b", "'a' in globals()"]),
    "underscore": (["_n = 4", "_n += 1"], ["_n"]),
    "star": (["from math import *", "r = sqrt(4)"], ["r", "sqrt(9)"]),
    "node that refers to itself": (
        [
            "class N:\n    def __init__(self): self.me = self; self.kids = []\nroot = N()",
            "k = N(); root.kids.append(k)",
        ],
        ["root.me is root", "root.kids[0] is k", "type(k) is N"],
    ),
    "two classes that refer to each other": (
        ["class A: ...\nclass B:\n    a = A\nA.b = B\nx = A()\ny = B()", "B.n = 3"],
        ["x.b is B", "y.a is A", "x.b.n"],
    ),
    "enumeration member": (
        ["import enum\nclass E(enum.Enum):\n    A = 1\nx = {'e': E.A}", "y = E.A"],
        ["x['e'] is y", "y is E.A"],
    ),
    "names with underscores around them": (
        ["__version__ = '1'\n__all = [1]\n_own = __all", "__version__ += '.0'\n_own.append(2)"],
        ["__version__", "__all", "_own is __all"],
    ),
    "class that a function makes": (
        [
            "import abc\ndef make():\n    class A:\n        class B(abc.ABC): ...\n    return A\nA = make()\na = A()",
            "b = A.B()",
        ],
        ["A.__qualname__", "A.B.__qualname__", "str(A)", "type(a) is A, type(b) is A.B"],
    ),
    "property of a metaclass": (
        [
            "class Meta(type):\n    @property\n    def about(cls): return 'class'",
            "class A(metaclass=Meta):\n    @property\n    def about(self): return f'object {self.n}'\na = A()\na.n = 1",
            "a.n += 1",
            "from sympy import test, doctest",
        ],
        ["A.about", "a.about", "type(a) is A", "type(test).__name__", "type(doctest) is type(test)"],
    ),
    "function without a name": (
        [
            "def both(f, g):\n    def h(x): return g(f(x))\n    return h",
            "parts = [lambda x, k=k: x * k for k in range(3)]",
            "two = both(parts[2], str)",
            "kept = {'one': parts[1]}",
        ],
        [
            "two.__closure__[0].cell_contents is parts[2]",
            "kept['one'] is parts[1]",
            "two.__closure__[1].cell_contents is str",
            "two(3)",
        ],
    ),
    "classes that name no module": (
        [
            "import sympy\nt = sympy.Symbol('t')\nf = sympy.Function('f')\nterm = f(t) + 1",
            "class M(type):\n    __module__ = None\nclass C(metaclass=M): ...\nC.__module__ = None\nc = C()\nc.n = [1]",
            "terms = [term.diff(t)]",
        ],
        ["term", "terms", "term.args[1].func == f", "c.n"],
    ),
}


def _names_in(cell: str) -> set[str]:
    return set(re.findall(r"[A-Za-z_]\w*", cell))


@pytest.mark.parametrize("case", CASES)
def test_what_was_stored_cell_after_cell_is_restored(kernel: Peer, task: Peer, tmp_path: Path, case: str) -> None:
    """Although only what a cell mentions was looked at."""
    cells, expressions = CASES[case]
    for cell in cells:
        kernel.run(cell)
        snapshot = kernel("store", tmp_path, _names_in(cell))
    task("restore", snapshot, tmp_path)

    assert snapshot.unstorable == {}
    assert task.values(*expressions) == kernel.values(*expressions)


def _run(namespace: dict[str, Any], cell: str) -> None:
    exec(cell, namespace)


@pytest.fixture
def store(tmp_path: Path) -> Callable[..., Snapshot]:
    """A tracker of a namespace."""
    trackers: dict[int, Tracker] = {}

    def store(namespace: dict[str, Any], touched: set[str] | None = None) -> Snapshot:
        tracker = trackers.setdefault(id(namespace), Tracker(namespace))
        return tracker.store(BlobStore(tmp_path), touched)

    return store


def _groups(snapshot: Snapshot) -> set[tuple[str, ...]]:
    return {one.names for one in snapshot.covariables if one.names}


@pytest.mark.parametrize(
    ("cell", "groups"),
    [
        ("a = 1; b = a; t = 'x'; u = t", "a|b|t|u"),
        ("a = (1, 2); b = a", "a|b"),
        ("a = ([],); b = a[0]", "a b"),
        ("class C: ...\na = C(); b = C()", "C|a|b"),
        ("def f(): ...\na = [f]; b = [f]", "a|b|f"),
        ("def f(): ...\nf.n = 1\na = [f]; b = [f]", "a|b|f"),
        ("a = [lambda: 0]; a[0].n = 1; b = [a[0]]", "a b"),
        ("a = [lambda: 0]; b = (a[0],); c = [lambda: 0]", "a b|c"),
        ("a = [lambda: 0]; b = a[0]; c = [b]", "a|b|c"),
        ("import math\na = [math]; b = [math]", "a|b|math"),
        ("import numpy as np\na = np.zeros(3); b = np.zeros(3); c = a.dtype; d = b.dtype", "a|b|c|d|np"),
        ("import numpy as np\nx = np.zeros(9)\na = x[:3]; b = x[3:]\ndel x", "a b|np"),
        ("import datetime, decimal\nd = datetime.date(2020, 1, 1); a = [d]; b = [d]", "a|b|d|datetime|decimal"),
        ("import enum\nclass E(enum.Enum):\n    A = 1\na = [E.A]; b = [E.A]", "E|a|b|enum"),
        ("import pandas as pd\na = pd.DataFrame({'x': [1]}, index=['k']); b = a['x']; c = a.copy()", "a|b|c|pd"),
        ("import pandas as pd\nt = pd.DataFrame({'x': [1.0]}); a = t['x'].to_numpy(); b = t[:]; c = t.x", "a b c t|pd"),
        ("from random import random, randint\na = [random]", "a|randint|random"),
        ("g = globals()\ndef f(): ...\na = [f]", "a|f|g"),
    ],
)
def test_names_are_together_that_share_what_can_change(store: Callable[..., Snapshot], cell: str, groups: str) -> None:
    """Not those that share a class, a module, or a value that never changes."""
    namespace = {"__name__": "__main__"}
    _run(namespace, cell)

    assert _groups(store(namespace)) == {tuple(sorted(group.split())) for group in groups.split("|")}


def test_what_cannot_be_stored_is_named_and_the_rest_is_stored(store: Callable[..., Snapshot], tmp_path: Path) -> None:
    """Also the names that share something with it."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    _run(namespace, "l = [1]\ng = (x for x in l)\nd = {'g': g, 'l': l}\nx = 1")
    snapshot = store(namespace)

    assert sorted(snapshot.names) == ["l", "x"]
    assert sorted(snapshot.unstorable) == ["d", "g"]
    assert "d['g'] is a generator" in snapshot.unstorable["d"]
    assert "no longer" not in snapshot.unstorable["d"]  # the generator came first
    target: dict[str, Any] = {}
    assert sorted(restore(snapshot, BlobStore(tmp_path), target)) == ["l", "x"]
    assert target["l"] == [1]


def test_a_generator_that_is_advanced_changes_what_it_refers_to(store: Callable[..., Snapshot], tmp_path: Path) -> None:
    """What a value that cannot be pickled does to others is seen, although they are not mentioned."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    _run(namespace, "l = []\ndef make():\n    while True:\n        l.append(1)\n        yield\ng = make()")
    store(namespace)
    _run(namespace, "next(g)")
    snapshot = store(namespace, {"g"})

    target: dict[str, Any] = {}
    restore(snapshot, BlobStore(tmp_path), target)
    assert target["l"] == [1]


def test_nothing_is_written_twice(store: Callable[..., Snapshot], tmp_path: Path) -> None:
    """Not what was not mentioned, and not what was mentioned and is the same."""
    numpy = pytest.importorskip("numpy")
    namespace: dict[str, Any] = {"__name__": "__main__", "big": numpy.zeros(100_000), "x": 1}
    first = store(namespace)
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    namespace["x"] = 2
    second = store(namespace, {"x", "big"})
    third = store(namespace, {"x"})

    assert len(files) == 1
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == set(files)
    assert first.blobs == second.blobs == third.blobs
    assert second.covariables != first.covariables
    assert third == second


def test_only_what_is_asked_for_is_restored(store: Callable[..., Snapshot], tmp_path: Path) -> None:
    """With the names that share something with it, and the classes that it needs."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    _run(namespace, "class C: n = 1\na = C()\nb = [a]\nz = 5")
    snapshot = store(namespace)

    target: dict[str, Any] = {}
    assert restore(snapshot, BlobStore(tmp_path), target, {"b"}) == ("a", "b")
    assert target["b"][0] is target["a"]
    assert target["a"].n == 1


def test_names_of_a_kernel_are_not_the_notebooks() -> None:
    """History, outputs and helpers of IPython; names with one underscore are ordinary."""
    hidden = ["__name__", "__builtins__", "_", "__", "_i", "_ii", "_i12", "_7", "_ih", "_oh", "_dh", "In", "Out"]

    assert all(map(is_hidden, [*hidden, "get_ipython", "exit", "quit"]))
    assert not any(map(is_hidden, ["x", "_x", "_n1", "_index", "Input", "i", "_data_", "_hidden"]))


def test_names_that_shared_something_with_what_cannot_be_stored_are_named(store: Callable[..., Snapshot]) -> None:
    """And the reason stays as it was as long as the value does."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    _run(namespace, "l = [1]\nd = {'l': l, 'g': (x for x in l)}")
    first = store(namespace)
    second = store(namespace, {"d"})

    assert first.unstorable["d"].endswith("l shared objects with it, and when they are loaded they no longer do")
    assert second.unstorable == first.unstorable


@pytest.mark.parametrize("megabytes", [[3, 3], [1, 8, 1, 2]])
def test_large_values_are_written_beside_each_other(tmp_path: Path, megabytes: list[int]) -> None:
    """In threads that are gone afterwards; each name has its own value, and what shares memory stays together."""
    arrays = {f"a{n}": np.full(size << 17, float(n)) for n, size in enumerate(megabytes)}
    namespace: dict[str, Any] = {**arrays, "view": arrays["a0"][5:]}
    before = threading.active_count()

    blobs = BlobStore(tmp_path)
    snapshot = Tracker(namespace).store(blobs)
    again: dict[str, Any] = {}
    restore(snapshot, blobs, again)

    assert threading.active_count() == before
    assert all(np.array_equal(again[name], value) for name, value in namespace.items())
    assert again["view"].base is again["a0"]


def test_a_full_disk_is_an_error_when_large_values_are_written_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store after it writes what is missing."""
    namespace: dict[str, Any] = {name: np.full(3 << 17, float(n)) for n, name in enumerate("abc")}
    tracker, blobs = Tracker(namespace), BlobStore(tmp_path)
    plain, calls, no_room = BlobStore.put, itertools.count(), DataFolderError("no room")

    def full(self: BlobStore, encoded: Any) -> Any:
        if next(calls) == 1:
            raise no_room
        return plain(self, encoded)

    monkeypatch.setattr(BlobStore, "put", full)
    with pytest.raises(DataFolderError, match="no room"):
        tracker.store(blobs)
    monkeypatch.undo()
    again: dict[str, Any] = {}
    restore(tracker.store(blobs), blobs, again)

    assert {name: value[0] for name, value in again.items()} == {"a": 0.0, "b": 1.0, "c": 2.0}
