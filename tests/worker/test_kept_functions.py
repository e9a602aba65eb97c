"""What a node does to its function and arguments is not seen by any later node: each starts from what was sent."""

from __future__ import annotations

import collections
import datetime as dt
import functools
import itertools
import math
import types
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pandas as pd
import pytest
from tests.worker.test_batch_runner import Batches, value

from covalab.core.codec import decode, digest_of, encode, serialize_small
from covalab.core.model import Digest
from covalab.core.protocol import Argument, TaskSpec
from covalab.worker.kept_functions import keep

pytestmark = pytest.mark.sampled(5)

NODES = 20


@pytest.fixture
def batches(tmp_path: Path) -> Batches:
    """Return a worker without batches."""
    return Batches(tmp_path)


def of_notebook(source: str, **names: Any) -> Any:
    """Return `task` of some code, as if a notebook had defined it."""
    namespace = {"__name__": "__main__", **names}
    exec(source, namespace)
    return namespace["task"]


def nodes_of(function: Callable[..., Any], n: int, first: int = 0) -> tuple[list[TaskSpec], dict[Digest, bytes]]:
    """Return a map of one function over `n` nodes, without inputs."""
    data = encode(function).join()
    digest = digest_of([data])
    return [TaskSpec(first + node, "task", digest, [], {}) for node in range(n)], {digest: data}


def values(batches: Batches) -> list[Any]:
    """Run all batches in one process and return the values in the order of nodes."""
    return [value(outcome) for _, outcome in sorted(batches.outcomes().items())]


CARRIED: dict[str, tuple[str, dict[str, Any]]] = {
    "a counter in a dict": ("def task(): C['n'] += 1; return C['n']", {"C": {"n": 0}}),
    "a list default": ("def task(seen=[]): seen.append(1); return len(seen)", {}),
    "a dict default by keyword": ("def task(*, seen={'n': 0}): seen['n'] += 1; return seen['n']", {}),
    "global": ("def task():\n global n\n n += 1\n return n", {"n": 0}),
    "a new global": ("def task(): new = globals().get('new', 0) + 1; globals()['new'] = new; return new", {}),
    "a deleted global": ("def task():\n global n\n first = 'n' in globals()\n del n\n return int(first)", {"n": 0}),
    "exec": ("def task(): exec('n += 1', globals()); return n", {"n": 0}),
    "its main module": ("def task():\n import __main__\n __main__.n += 1\n return n", {"n": 0}),
    "a function attribute": ("def task(): task.n = getattr(task, 'n', 0) + 1; return task.n", {}),
    "an attribute of a helper": (
        "def helper(): helper.n = getattr(helper, 'n', 0) + 1; return helper.n\ndef task(): return helper()",
        {},
    ),
    "swapped defaults": (
        "def helper(n=1): helper.__defaults__ = (n + 1,); return n\ndef task(): return helper()",
        {},
    ),
    "nonlocal": (
        "def make():\n n = 0\n def task():\n  nonlocal n\n  n += 1\n  return n\n return task\ntask = make()",
        {},
    ),
    "a list in a closure": (
        "def make():\n seen = []\n def task():\n  seen.append(1)\n  return len(seen)\n return task\ntask = make()",
        {},
    ),
    "a class attribute": ("class A:\n n = 0\ndef task(): A.n += 1; return A.n", {}),
    "a new class attribute": ("class A: pass\ndef task(): A.n = getattr(A, 'n', 0) + 1; return A.n", {}),
    "an instance": ("class A:\n n = 0\na = A()\ndef task(): a.n += 1; return a.n", {}),
    "a bound method": (
        "class Model:\n steps = 0\n def fit(self): self.steps += 1; return self.steps\ntask = Model().fit",
        {},
    ),
    "a callable": (
        "class Model:\n steps = 0\n def __call__(self): self.steps += 1; return self.steps\ntask = Model()",
        {},
    ),
    "a class method": (
        "class A:\n n = 0\n @classmethod\n def f(cls): cls.n += 1; return cls.n\ntask = A.f",
        {},
    ),
    "a list in a dataclass": (
        """import dataclasses
@dataclasses.dataclass
class A:
    seen: list = dataclasses.field(default_factory=list)
a = A()
def task(): a.seen.append(1); return len(a.seen)""",
        {},
    ),
    "a list in a tuple": ("def task(): T[0].append(1); return len(T[0])", {"T": ([],)}),
    "a deque": ("def task(): D.append(1); return len(D)", {"D": collections.deque()}),
    "a Counter": ("def task(): C['x'] += 1; return C['x']", {"C": collections.Counter()}),
    "a set": ("def task(): S.add(len(S)); return len(S)", {"S": set()}),
    "bytes that change": ("def task(): B[0] += 1; return B[0]", {"B": bytearray(1)}),
    "a counting iterator": ("def task(): return next(I) + 1", {"I": itertools.count()}),
    "an iterator": ("def task(): return next(I)", {"I": iter([1, 2, 3, 4, 5, 6])}),
    "a partial": (
        "import functools\ndef add(seen): seen.append(1); return len(seen)\ntask = functools.partial(add, [])",
        {},
    ),
    "a small array": ("def task(): A[0] += 1; return int(A[0])", {"A": np.zeros(3)}),
    "a large array": ("def task(): A[0] += 1; return int(A[0])", {"A": np.zeros(100_000)}),
    "a frame": (
        "def task(): df['b'] = df['b'] + 1; return int(df['b'].iloc[0])",
        {"df": pd.DataFrame({"b": [0, 1]})},
    ),
    "a module by value": (
        "def task(): helper.cache['n'] = helper.cache.get('n', 0) + 1; return helper.cache['n']",
        {"helper": types.ModuleType("helper_by_value")},
    ),
    "an enum": (
        "import enum\nclass E(enum.Enum):\n A = 1\ndef task(): E.A.n = getattr(E.A, 'n', 0) + 1; return E.A.n",
        {},
    ),
}
CARRIED["a module by value"][1]["helper"].cache = {}


@pytest.mark.parametrize("kind", CARRIED)
def test_every_node_starts_from_what_was_sent(batches: Batches, kind: str) -> None:
    """In a map, in later dispatches, and when the same node is tried again."""
    source, names = CARRIED[kind]
    function = of_notebook(source, **names)
    tasks, code = nodes_of(function, NODES)
    batches.add(*tasks, code=code)
    later, _ = nodes_of(function, 3, NODES)
    for task in later:
        batches.add(task, code=code)

    assert values(batches) == [1] * (NODES + 3)


def test_numbers_of_a_generator_that_was_sent_are_the_same_in_each_node(batches: Batches) -> None:
    """It has a state, and each node gets the one that was sent."""
    tasks, code = nodes_of(of_notebook("def task(): return float(G.random())", G=np.random.default_rng(1)), 4)
    batches.add(*tasks, code=code)

    assert values(batches) == [float(np.random.default_rng(1).random())] * 4


def test_a_task_that_fails_half_way_begins_anew(batches: Batches) -> None:
    """A retry finds the list as it was sent, not with what the first attempt appended."""
    source = (
        "import pathlib\ndef task():\n seen.extend([0, 1, 2])\n mark = pathlib.Path('mark')\n"
        " if not mark.exists():\n  mark.touch()\n  raise RuntimeError\n return seen"
    )
    function = of_notebook(source, seen=[])
    tasks, code = nodes_of(function, 2)
    batches.add(tasks[0], code=code)
    batches.add(tasks[1], code=code)
    outcomes = batches.outcomes()

    assert outcomes[0].failure is not None
    assert value(outcomes[1]) == [0, 1, 2]


def test_an_input_that_a_node_changed_is_whole_for_the_next(batches: Batches) -> None:
    """Arrays from a blob, lists, and instances of a class that came with them."""
    source = (
        "class Box:\n n = 0\ndef task(box, items):\n"
        " type(box).n += 1\n items.append(type(box).n + Box.n)\n return items"
    )
    function = of_notebook(source)
    tasks, code = nodes_of(function, 3)
    box = function.__globals__["Box"]()
    given = [Argument(value=serialize_small(box)), Argument(value=serialize_small([]))]
    batches.add(*(TaskSpec(task.node, task.name, task.function, given, {}) for task in tasks), code=code)

    # Function and argument of one node share the class, as they did in the notebook.
    assert values(batches) == [[2]] * 3


def test_a_class_that_comes_back_is_the_one_that_was_sent(batches: Batches) -> None:
    """However often it went through a worker."""
    function = of_notebook("class Box: pass\ndef task(): return Box()")
    tasks, code = nodes_of(function, 3)
    batches.add(*tasks, code=code)

    assert [type(box) for box in values(batches)] == [function.__globals__["Box"]] * 3


UNCHANGING: dict[str, tuple[str, dict[str, Any]]] = {
    "numbers": ("def task(): return N + len(T)", {"N": 1, "T": (1, "a", (None, 2.0), frozenset({3}))}),
    "modules": ("def task(): return math.pi, np.sin(1)", {"math": math, "np": np}),
    "functions by name": ("def task(): return sqrt(4), cos, reduce", {"sqrt": math.sqrt, "reduce": functools.reduce}),
    "classes by name": ("def task(): return Fraction(1), Fraction.from_float", {"Fraction": Fraction}),
    "helpers": ("K = 3\ndef helper(x): return x + K\ndef task(): return helper(1)", {}),
    "recursion": ("def task(n=3): return n and task(n - 1)", {}),
    "a closure": ("def make(k):\n def task(): return k\n return task\ntask = make(3)", {}),
    "dates and paths": (
        "def task(): return D, P",
        {"D": dt.date(2020, 1, 1), "P": Path("x"), "R": range(3)},
    ),
    "an attribute that is a text": ("def task(): return 1\ntask.note = 'n'", {}),
    "annotations": ("def task(a: list[int] = (), *, b: 'int' = 1) -> dict[str, int]: return 1", {}),
    "numbers of NumPy": ("def task(): return N, U", {"N": np.float64(1), "U": np.sin}),
}


@pytest.mark.parametrize("kind", UNCHANGING)
def test_what_cannot_change_is_decoded_once(kind: str) -> None:
    """Decoding costs more than a quick task does."""
    source, names = UNCHANGING[kind]
    function = cloudpickle.loads(cloudpickle.dumps(of_notebook(source, cos=math.cos, **names)))
    kept = keep(function)

    assert kept is not None
    function()
    assert kept.is_unchanged()


def test_a_warning_is_no_change() -> None:
    """Python notes among the globals which warnings were shown."""
    function = of_notebook("import warnings\ndef task(): warnings.warn('w')")
    kept = keep(function)
    with pytest.warns(UserWarning, match="w"):
        function()

    assert kept is not None
    assert kept.is_unchanged()


def test_one_and_true_are_two_values() -> None:
    """They are equal, and print differently."""
    function = of_notebook("N = 1\ndef task(): return N")
    kept = keep(function)
    function.__globals__["N"] = True

    assert kept is not None
    assert not kept.is_unchanged()


def test_a_thousand_nodes_of_a_plain_function_decode_it_once(batches: Batches) -> None:
    """It is the same object in each."""
    source = "def task(): return id(task)"
    tasks, code = nodes_of(of_notebook(source), 200)
    batches.add(*tasks, code=code)

    assert len(set(values(batches))) == 1


def test_the_function_of_another_node_is_no_argument(batches: Batches) -> None:
    """A function that is an input is decoded for each use, like any value."""
    adder = of_notebook("def task(): task.n = getattr(task, 'n', 0) + 1; return task.n")
    caller = of_notebook("def task(f): f(); return f()")
    tasks, code = nodes_of(caller, 3)
    given = [Argument(value=serialize_small(adder))]
    batches.add(*(TaskSpec(task.node, task.name, task.function, given, {}) for task in tasks), code=code)

    assert values(batches) == [2, 2, 2]


def test_the_tables_are_of_use() -> None:
    """A kind in the list must really be able to change: twice in one process gives 1 and 2."""
    for kind, (source, names) in CARRIED.items():
        if kind not in ("a deleted global", "its main module"):  # the first cannot run twice, the other not here
            function = decode(encode(of_notebook(source, **names)).join())
            assert (function(), function()) == (1, 2), kind
