"""What counts as the same function or value, although it was pickled elsewhere."""

from __future__ import annotations

import functools
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest

import covalab as ct
from covalab.blobs import BlobStore, InMemory
from covalab.core.codec import decode, encode
from covalab.core.reuse import reusable_nodes
from covalab.sdk.building.submit import prepare
from covalab.sdk.dispatching.fingerprint import align, fingerprint


def made(source: str, name: str = "f", above: int = 0, **names: Any) -> Callable[..., Any]:
    """Run a cell in a session of its own, some lines further down, and return what it defines."""
    session: dict[str, Any] = {"__name__": "__main__", "ct": ct, "functools": functools, "np": np, **names}
    exec(compile("\n" * above + source, f"<cell {above}>", "exec"), session)
    return session[name]  # type: ignore[no-any-return]


CELL = """
LIMIT = 3
def helper(x, ways={"a", "b", "c"}):
    return x * LIMIT if x in (1, 2.0, None) else ways
class Model:
    kind: str = "linear"
    def fit(self, x):
        return helper(x)
    @property
    def name(self):
        return [part for part in self.kind.split()]
def f(x, model=Model()):
    def inner():
        return model.fit(x), np.zeros(3), functools.partial(helper, 1)
    return inner()
"""


@pytest.mark.parametrize(
    "twice",
    [
        lambda: made(CELL, above=7),
        lambda: pickle.loads(cloudpickle.dumps(made(CELL))),
        lambda: pickle.loads(cloudpickle.dumps(pickle.loads(cloudpickle.dumps(made(CELL, above=3))))),
        lambda: made(CELL.replace("return inner()", "return inner()  # with a comment")),
    ],
    ids=["another line", "pickled", "pickled twice", "a comment"],
)
def test_the_same_cell_is_the_same_function(twice: Callable[[], Callable[..., Any]]) -> None:
    """Wherever it stands, and however often it has travelled."""
    assert fingerprint(twice()) == fingerprint(made(CELL))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("LIMIT = 3", "LIMIT = 4"),
        ('{"a", "b", "c"}', '{"a", "b"}'),
        ("2.0", "2"),
        ('"linear"', '"cubic"'),
        ("return helper(x)", "return helper(x), 1"),
        ("self.kind.split()", "self.kind.split(None)"),
        ("np.zeros(3)", "np.ones(3)"),
        ("helper, 1", "helper, 2"),
        ("def f(x, model", "def f(x, *, model"),
    ],
)
def test_what_a_function_refers_to_belongs_to_it(before: str, after: str) -> None:
    """Globals, defaults, constants, helpers, classes and nested functions, however deep."""
    assert CELL.count(before) == 1
    assert fingerprint(made(CELL.replace(before, after))) != fingerprint(made(CELL))


CACHED = """
STEP = 3
@functools.lru_cache(maxsize=10)
def helper(x):
    return x + STEP
class Model:
    @functools.cached_property
    def slow(self):
        return helper(2)
    @functools.cache
    def area(self, n):
        return n * 2
@functools.singledispatch
def show(x):
    return "object"
@show.register
def _(x: int):
    return "int"
def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)
fib = functools.cache(fib)
def f(x):
    return helper(x), Model().slow, Model().area(x), show(x), fib(x)
"""


def test_what_a_cache_remembers_is_not_what_a_function_does() -> None:
    """Caches that are full, single dispatch that was asked, another session: the same function."""
    used = made(CACHED, above=5)
    used(3)
    again = made(CACHED)
    again(9)

    assert fingerprint(used) == fingerprint(again) == fingerprint(made(CACHED))
    assert fingerprint(decode(encode(used).join())) == fingerprint(made(CACHED))
    assert fingerprint(decode(encode(decode(encode(used).join())).join())) == fingerprint(made(CACHED))
    assert fingerprint(made(CACHED, name="helper")) == fingerprint(made(CACHED, name="helper", above=2))
    assert fingerprint(made(CACHED, name="show")) == fingerprint(made(CACHED, name="show", above=2))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("STEP = 3", "STEP = 4"),
        ("return x + STEP", "return x - STEP"),
        ("maxsize=10", "maxsize=11"),
        ("return helper(2)", "return helper(3)"),
        ("return n * 2", "return n * 3"),
        ('return "object"', 'return "thing"'),
        ('return "int"', 'return "number"'),
        ("_(x: int)", "_(x: float)"),
        ("fib(n - 1)", "fib(n - 3)"),
    ],
)
def test_what_is_below_a_cache_belongs_to_a_function(before: str, after: str) -> None:
    """The functions in cached functions, cached properties and single dispatch count, and what they refer to."""
    assert CACHED.count(before) == 1
    assert fingerprint(made(CACHED.replace(before, after))) != fingerprint(made(CACHED))


def test_functions_that_call_each_other_end() -> None:
    """A cycle is no trouble."""
    cell = "def f(n):\n    return g(n - 1) if n else 0\ndef g(n):\n    return f(n)\n"

    assert (
        fingerprint(made(cell))
        == fingerprint(made(cell, above=5))
        != fingerprint(made(cell.replace("else 0", "else 1")))
    )


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([1, "a", {"b": (2.5, None)}], [1, "a", {"b": (2.5, None)}]),
        ({"x", "y", "z"}, {"z", "y", "x"}),
        (np.arange(10), np.arange(10)),
        (np.arange(20).reshape(4, 5)[:, 1:3], np.array([[1, 2], [6, 7], [11, 12], [16, 17]])),
        (["ab", "ab"], [text[:2] for text in ("abc", "abd")]),
    ],
)
def test_equal_values_are_the_same(one: object, other: object) -> None:
    """However their bytes were laid out."""
    assert fingerprint(one) == fingerprint(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [(1, True), (1, 1.0), (0.0, -0.0), ([1], (1,)), (np.arange(3), np.arange(3.0)), ({"a": 1}, {"a": 2}), ("1", b"1")],
)
def test_values_of_another_kind_are_not(one: object, other: object) -> None:
    """Also when they are equal."""
    assert fingerprint(one) != fingerprint(other)


def test_how_an_electron_is_run_is_not_what_it_does() -> None:
    """Retries and limits of an electron that another calls leave that one the same."""
    cell = "@ct.electron{}\ndef g(x):\n    return x\ndef f(x):\n    return g(x)\n"

    assert fingerprint(made(cell.format(""))) == fingerprint(made(cell.format("(retries=3)")))


HOOKED = """
def prepare(x):
    return x + 1
@ct.electron(deps_bash="echo a", call_before=ct.DepsCall(prepare, [1], retval_keyword="y"))
def task(x, y=0):
    return x, y
flow = ct.lattice(lambda: task(1))
"""


@pytest.mark.parametrize(
    ("edited", "is_same"),
    [
        (HOOKED, True),
        (HOOKED.replace("echo a", "echo b"), False),
        (HOOKED.replace("[1]", "[2]"), False),
        (HOOKED.replace("x + 1", "x + 2"), False),
    ],
    ids=["the same cell", "another command", "another argument", "another function"],
)
def test_hooks_are_the_same_when_they_do_the_same(edited: str, is_same: bool, tmp_path: Path) -> None:
    """They count, too: with other hooks an electron runs again, in any session."""
    old = prepare(made(HOOKED, "flow"), (), {}, InMemory())  # type: ignore[arg-type]
    new = align(prepare(made(edited, "flow", above=5), (), {}, InMemory()), old, BlobStore(tmp_path))  # type: ignore[arg-type]
    done = [node for node, it in enumerate(old.graph.nodes) if it.name == "task"]

    assert reusable_nodes(old.graph, old.values, done, new.graph, new.values) == (done if is_same else [])
    assert reusable_nodes(old.graph, old.values, done, new.graph, new.values, strict=True) == done
    assert all(settings.hooks in new.code for settings in new.graph.settings if settings.hooks)
