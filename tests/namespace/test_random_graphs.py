"""Random objects with aliases: a cell in another process does to them what it does here. Storing them keeps them."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.namespace.graphs import NAMES
from tests.namespace.peer import Peer

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
    "{x} = {y}.pop(0)": 2,
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
    "{x} = iter({y}[:])": 1,
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


def _prepare(peer: Peer) -> Peer:
    peer("reset")
    peer.run(START)
    return peer


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(lines(25), lines(12))
def test_a_cell_elsewhere_does_what_it_does_here(peers: tuple[Peer, Peer], first: list[str], cell: list[str]) -> None:
    """With the names that it mentions, and only these, in the other process."""
    kernel, task = peers
    _prepare(kernel)("run_lines", [*first, *cell])
    expected = kernel("form")
    _prepare(kernel)("run_lines", first)
    task("reset")

    text = " ".join(cell)
    mentioned = [key for key in (*NAMES, "O", "S", "L", "g", "make", "np", "deque") if key in text]
    task("receive", kernel("send", mentioned))
    task("run_lines", cell)
    delivered = kernel("deliver", task("reply", None))

    assert delivered.unsendable == {}
    if not any("is another object now" in warning for warning in delivered.warnings):
        assert delivered.warnings == ()
        assert kernel("form") == expected


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(lines(6), min_size=1, max_size=6))
def test_what_was_stored_after_each_cell_is_what_is_there(peers: tuple[Peer, Peer], cells: list[list[str]]) -> None:
    """Although each time only the names that the cell mentions were looked at."""
    kernel, task = peers
    _prepare(kernel)
    task("reset")
    with tempfile.TemporaryDirectory() as folder:
        kernel("store", Path(folder), None)
        for cell in cells:
            kernel("run_lines", cell)
            text = " ".join(cell)
            mentioned = {key for key in (*NAMES, "O", "S", "L", "g", "make", "np", "deque") if key in text}
            snapshot = kernel("store", Path(folder), mentioned)
        task("restore", snapshot, Path(folder))

    assert snapshot.unstorable == {}
    assert task("form") == kernel("form")
