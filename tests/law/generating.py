"""Small random notebooks: names, aliases, views, changes in place, loops, functions, classes, draws, prints."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

START = """import random
import numpy as np
random.seed(5)
np.random.seed(5)
a, b, c = [1], [2, 3], [0]
x, y = 3, 4
v, w = np.arange(6.0), np.ones((2, 2))
d = {"k": a}
rng = np.random.default_rng(5)
it = iter(range(100))
class K:
    n = 1
    def __init__(self, n):
        self.n = n
        self.items = []
    def add(self, item):
        self.items.append(item)
        return self
o = K(2)
f = lambda: len(a)
def g(value):
    return [value, x]
def ticks():
    for tick in range(50):
        yield tick
gen = ticks()"""
COUNTER = """def counter(n={0}):
    def up():
        nonlocal n
        n += 1
        return n
    return up
up = counter()
up()"""

_lists = st.sampled_from("abc")
_numbers = st.sampled_from("xy")
_arrays = st.sampled_from("vw")
_digit = st.integers(0, 9)
_any = st.sampled_from(["a", "b", "c", "x", "y", "v", "w", "d", "o.items", "o.n", "K.n"])


def _of(template: str, *parts: st.SearchStrategy[object]) -> st.SearchStrategy[str]:
    return st.builds(template.format, *parts)


STATEMENTS = (
    # Names, aliases, changes in place.
    _of("{0} = [{1}, *{2}][:6]", _lists, _digit, _lists),
    _of("{0} = {1}", _lists, _lists),
    _of("{0}.append({1})", _lists, _digit),
    _of("{0} += [{1}]", _lists, _digit),
    _of("{0}[:] = sorted({1}, key=str)[:4]", _lists, _lists),
    _of("{0}, {1} = {1}, {0}", _lists, _lists),
    _of("d[{0!r}] = {1}", st.sampled_from("kmz"), _lists),
    _of("{0} = d.setdefault({1!r}, [])", _lists, st.sampled_from("kmz")),
    _of("d.pop('m', None)"),
    _of("{0} = {1} + {2}", _numbers, _numbers, _digit),
    _of("{0} += 1", _numbers),
    # Arrays and views.
    _of("{0} = v[1:4]", _arrays),
    _of("{0} = v.reshape(-1)", _arrays),
    _of("{0}[...] = {1}", _arrays, _digit),
    _of("{0}.flat[0] = {1}", _arrays, _digit),
    _of("{0} *= 2", _arrays),
    _of("np.add({0}, 1, out={0})", _arrays),
    _of("view = {0}.T\nview.flat[-1] = {1}", _arrays, _digit),
    # Random numbers, iterators, generators.
    _of("{0} = random.randint(0, 9)", _numbers),
    _of("{0} = int(np.random.randint(10))", _numbers),
    _of("{0} = int(rng.integers(10))", _numbers),
    _of("random.shuffle({0})", _lists),
    _of("np.random.seed({0})", _digit),
    _of("{0} = next(it)", _numbers),
    _of("{0} = next(gen, -1)", _numbers),
    _of("{0} = [*map(str, {1})]", _lists, _lists),
    # Functions, closures, classes.
    _of("def g(value):\n    return [value, len({0}), {1}]", _lists, _numbers),
    _of("{0} = g({1})", _lists, _digit),
    _of("f = lambda: ({0}, {1})", _numbers, _numbers),
    _of("print(f(), g({0}))", _digit),
    _of("def h():\n    global {0}\n    {0} = {1}\nh()", _numbers, _digit),
    _of("def h(): {0}.append({1})\nh()", _lists, _digit),
    _of(COUNTER, _digit),
    _of("o.add({0})", _any),
    _of("o.n, K.n = K.n, {0}", _digit),
    _of("o2 = o\no2.items = {0}", _lists),
    _of("class K(K):\n    m = {0}\n    def more(self): return self.m + {1}\no = K({0})", _digit, _numbers),
    _of("o = K({0}).add({1})", _digit, _lists),
    _of("K.add = lambda self, item: self.items.insert(0, item) or self"),
    # Flow.
    _of("for i in range({0}): {1} = [i, *{1}][:5]", st.integers(0, 3), _lists),
    _of("for {0} in [{1}, 7]: pass", _numbers, _digit),
    _of("for row in (a, b): row.append(len(row))"),
    _of("if len({0}) > {1}: {2} = [*{0}]", _lists, st.integers(0, 3), _lists),
    _of("while {0} > 2: {0} -= 2", _numbers),
    _of(
        "try:\n    {0} = {1}[3]\nexcept (IndexError, TypeError) as error:\n    {0} = 0\n    said = str(error)",
        _numbers,
        _lists,
    ),
    _of("from contextlib import nullcontext\nwith nullcontext({0}) as inside: inside.append({1})", _lists, _digit),
    _of("if (n := len({0})) > 1: print('long', n)", _lists),
    _of("{0} = [*{0}, *{0}][:4]\ndel {0}[0]", _lists),
    _of("_hidden = [{0}]\n_hidden.append({1})", _any, _digit),
    _of("del d['k']; d['k'] = {0}", _lists),
    # What is shown.
    _of("print({0}, {1})", _any, _any),
    _of("{0}", _any),
    _of("{0} is {1}", _lists, _lists),
    _of("{0} = {1}; {1}", _lists, _lists),
    _of("np.set_printoptions(precision={0})", st.integers(1, 8)),
    _of("print(np.arange(3) / 3)"),
    _of("import sys\nsys.stderr.write(repr({0}) + '\\n')\nNone", _lists),
    _of("display({0}, {1})", _any, _any),
    # Names that go and come back.
    _of("temp = {0}", _lists),
    _of("temp = 1; del temp"),
    _of("'temp' in globals()"),
    _of("import math\n{0} = math.gcd({0} if isinstance({0}, int) else 1, 12)", _numbers),
    _of("assert len({0}) < 3", _lists),
)

cells: st.SearchStrategy[Sequence[str]] = st.lists(
    st.lists(st.one_of(*STATEMENTS), min_size=1, max_size=4).map("\n".join), min_size=1, max_size=6
)
