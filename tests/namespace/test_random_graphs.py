"""Random objects with aliases: a cell in another process does to them what it does here. Storing them keeps them."""

from __future__ import annotations

import tempfile
from collections import deque
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from covalab.blobs import BlobStore
from covalab.namespace.covariables import Tracker, restore
from covalab.namespace.exchange import deliver, receive, send

NAMES = "abcdef"
name = st.sampled_from(NAMES)
number = st.integers(0, 3)

LINES = {
    "{x} = [{y}, {n}]": 3,
    "{x} = {{'k': {y}, {n}: {z}}}": 3,
    "{x} = ({y}, {z})": 2,
    "{x} = {y}": 3,
    "{x} = {n}": 1,
    "{x} = O()": 2,
    "{x}.at = {y}": 2,
    "{x}.other = {x}": 1,
    "{x} = {y}.at": 2,
    "{x} = S()": 1,
    "{x}.s = {y}": 1,
    "{x} = {y}.s": 1,
    "{x} = L([{y}])": 1,
    "{x} = deque([{y}])": 1,
    "{x} = {{{n}, ({n}, 'x')}}": 1,
    "{x}.add(({n}, 1))": 1,
    "{x}.append({y})": 4,
    "{x}.extend([{y}, {n}])": 1,
    "{x}.insert(0, {y})": 1,
    "{x} = {y}.pop()": 2,
    "{x}.reverse()": 1,
    "{x}.clear()": 1,
    "{x} = {y}[0]": 2,
    "{x} = {y}['k']": 2,
    "{x}[0] = {y}": 2,
    "{x}['k'] = {y}": 2,
    "{x}[{n}] = {y}[0]": 1,
    "del {x}": 1,
    "{x} = np.arange({n} + 4)": 3,
    "{x} = {y}[1:3]": 3,
    "{x} = {y}[::-1]": 2,
    "{x}[...] = {n}": 2,
    "{x} += 1": 2,
    "{x} = {y}.reshape(2, -1)": 1,
    "{x} = {y}.T": 1,
    "{x} = {y}.copy()": 1,
    "{x} = np.array([{y}, None], dtype=object)": 1,
    "{x} = iter({y})": 1,
    "{x} = next({y})": 1,
    "{x} = make({y})": 2,
    "{x} = {y}({z})": 2,
    "O.shared = {x}": 1,
    "{x} = O.shared": 1,
    "{x} = g": 1,
    "g.note = {x}": 1,
    "{x} = g.note": 1,
    "{x} = bytearray(b'ab')": 1,
}
TEXTS = [text for text, weight in LINES.items() for _ in range(weight)]


@st.composite
def lines(draw: st.DrawFn, most: int) -> list[str]:
    """Return statements; one that fails is left out when it runs."""
    texts = draw(st.lists(st.sampled_from(TEXTS), min_size=1, max_size=most))
    return [text.format(x=draw(name), y=draw(name), z=draw(name), n=draw(number)) for text in texts]


START = """
import numpy as np
from collections import deque
class O: ...
class S: __slots__ = ('s',)
class L(list): ...
def make(kept):
    n = 0
    def f(x=None):
        nonlocal n, kept
        n += 1
        kept, x = x, kept
        return x
    return f
def g(x=None): return a
"""


def _run(lines: list[str], namespace: dict[str, Any]) -> None:
    for one in lines:
        try:
            exec(one, namespace)
        except (TypeError, ValueError, AttributeError, LookupError, NameError, StopIteration, OverflowError):
            continue


def _form(namespace: dict[str, Any]) -> Any:
    """Return values as a text in which objects have numbers, so that equal texts mean equal graphs."""
    numbers: dict[int, int] = {}

    def form(obj: Any) -> Any:
        if obj is None or isinstance(obj, int | str | np.generic):
            return repr(obj)
        if isinstance(obj, tuple):
            return ("tuple", *map(form, obj))
        if id(obj) in numbers:
            return numbers[id(obj)]
        number = numbers[id(obj)] = len(numbers)
        return (number, type(obj).__name__, *parts(obj))

    def parts(obj: Any) -> list[Any]:
        if isinstance(obj, np.ndarray):
            base = obj if obj.base is None else obj.base
            offset = obj.__array_interface__["data"][0] - base.__array_interface__["data"][0]
            content = list(map(form, obj.ravel().tolist())) if obj.dtype == object else obj.tolist()
            return [obj.shape, obj.strides, content, offset, form(base) if base is not obj else "own"]
        if isinstance(obj, dict):
            return pairs(obj)
        if isinstance(obj, set):
            return sorted(map(repr, obj))
        if isinstance(obj, list | deque):
            return [*map(form, obj), *pairs(getattr(obj, "__dict__", {}))]
        if isinstance(obj, bytearray):
            return [bytes(obj)]
        if isinstance(obj, type):
            return pairs({key: value for key, value in vars(obj).items() if key == "shared"})
        if callable(obj):
            return [*pairs(vars(obj)), *(form(cell.cell_contents) for cell in obj.__closure__ or ())]
        if hasattr(obj, "__next__"):
            return [form(obj.__reduce__()[1:])] if "list" in type(obj).__name__ else []
        slots = [form(obj.s)] if hasattr(obj, "s") else []
        return [*slots, *pairs(getattr(obj, "__dict__", {}))]

    def pairs(attributes: dict[Any, Any]) -> list[Any]:
        return [(form(key), form(value)) for key, value in attributes.items()]

    return [(key, form(namespace[key])) for key in (*NAMES, "O", "g", "make") if key in namespace]


def _new() -> dict[str, Any]:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(START, namespace)
    return namespace


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(lines(25), lines(12))
def test_a_cell_elsewhere_does_what_it_does_here(first: list[str], cell: list[str]) -> None:
    """With the names that it mentions, and only these, in the other process."""
    plain, kernel, task = _new(), _new(), {"__name__": "__main__"}
    _run([*first, *cell], plain)
    _run(first, kernel)

    text = " ".join(cell)
    mentioned = [key for key in (*NAMES, "O", "S", "L", "g", "make", "np", "deque") if key in text]
    sent = send(mentioned, kernel)
    received = receive(sent.data, task)
    _run(cell, task)
    delivered = deliver(sent, received.reply(), kernel)

    assert sent.unsendable == delivered.unsendable == {}
    if not any("is another object now" in warning for warning in delivered.warnings):
        assert delivered.warnings == ()
        assert _form(kernel) == _form(plain)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(lines(6), min_size=1, max_size=6))
def test_what_was_stored_after_each_cell_is_what_is_there(cells: list[list[str]]) -> None:
    """Although each time only the names that the cell mentions were looked at."""
    namespace = _new()
    tracker = Tracker(namespace)
    with tempfile.TemporaryDirectory() as folder:
        blobs = BlobStore(folder)
        for cell in cells:
            _run(cell, namespace)
            text = " ".join(cell)
            snapshot = tracker.store(blobs, {key for key in namespace if key in text})
        expected = _form(namespace)
        restored: dict[str, Any] = {"__name__": "__main__"}
        restore(snapshot, blobs, restored)

    assert snapshot.unstorable == {}
    assert _form(restored) == expected
