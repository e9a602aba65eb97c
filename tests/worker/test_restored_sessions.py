"""Restored sessions: values that cannot be stored are made again, each by the cells that made it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.worker.reused_cells import run

CASES: dict[str, tuple[Sequence[str], Any]] = {
    "made by three cells, each of which mentions some of them": (
        [
            "numbers = (i for i in range(9))",
            "pair = [numbers]",
            "other = (numbers,)",
            "seen = pair[0] is numbers and other[0] is numbers",
        ],
        True,
    ),
    "changed by way of another name": (
        ["numbers = (i for i in range(9))", "pair = [numbers]", "next(pair[0]);", "seen = next(numbers)"],
        1,
    ),
    "stored once, and not any more": (
        ["numbers = (i for i in range(9))\nx = 1", "x = 2", "x = [x + 1, numbers]", "seen = x[0]"],
        3,
    ),
    "the name with which it was made is deleted": (
        ["numbers = (i for i in range(9))", "pair = [numbers]", "del numbers", "seen = next(pair[0])"],
        0,
    ),
    "that name is deleted by the cell that gives it another": (
        ["numbers = (i for i in range(9))", "pair = [numbers]\ndel numbers", "ready = 1", "seen = next(pair[0])"],
        0,
    ),
    "whose code reads names that no cell mentions": (
        [
            "import math\nscale = 3",
            "def count():\n    while True:\n        yield math.floor(scale)\nnumbers = count()\ndel count",
            "next(numbers);",
            "seen = next(numbers)",
        ],
        3,
    ),
    "classes of a base that one deletes": (
        [
            "class Base:\n    numbers = (i for i in range(9))",
            "class Book(Base):\n    title = 'Emma'",
            "book = Book()\ndel Base",
            "seen = book.title, next(Book.numbers)",
        ],
        ("Emma", 0),
    ),
    "which go on with what has a name of its own": (
        [
            "import itertools\nnumbers = itertools.count(1)\npairs = itertools.pairwise(numbers)",
            "first = next(pairs)",
            "second = next(numbers)",
            "seen = first, second, next(pairs), next(numbers)",
        ],
        ((1, 2), 3, (2, 4), 5),
    ),
    "which read a list that grows afterwards, under another name": (
        [
            "rows = [1]\ndoubled = (2 * row for row in rows)",
            "again = rows\nother = 5",
            "again.append(other)",
            "other = 6",
            "rows.append(other)\nseen = [*doubled], again is rows",
        ],
        ([2, 10, 12], True),
    ),
    "which collect into a list that cells change, too": (
        [
            "def collect():\n    while True:\n        found.append((yield))\nfound = []\ninto = collect()\nnext(into)",
            "into.send(1)\nfound.append(2)",
            "seen = [found, into.send(3)][0]",
        ],
        [1, 2, 3],
    ),
    "tokens of a context variable": (
        [
            "import contextvars\nuser = contextvars.ContextVar('user', default='none')\ntoken = user.set('Ann')",
            "user.set('Bob');",
            "before = user.get()\nuser.reset(token)\nseen = before, user.get()",
        ],
        ("Bob", "none"),
    ),
    "a finalizer": (
        [
            "import weakref\nclass Node: pass\ngone, node = [], Node()\nend = weakref.finalize(node, gone.append, 1)",
            "ready = end.alive",
            "del node\nseen = ready, end.alive, gone",
        ],
        (True, False, [1]),
    ),
}

STORED: dict[str, tuple[Sequence[str], Any]] = {
    "an object that tells its end": (
        [
            "import gc\ngc.disable()\nclass Node:\n    def __del__(self):\n        self.told.append('gone')",
            "seen, node = [], Node()\nnode.told = seen",
            "node.f = lambda: 1",
            "del node\nseen.append('after')",
        ],
        ["gone", "after"],
    ),
    "weak references that call, proxies, methods": (
        [
            "import gc, weakref\ngc.disable()\nclass Node:\n    def name(self):\n        return 'it'",
            "node, gone, seen = Node(), [], []",
            (
                "reference, proxy = weakref.ref(node, lambda one: gone.append(1)), weakref.proxy(node, lambda one: 0)\n"
                "method = weakref.WeakMethod(node.name, lambda one: gone.append(2))\nlost = weakref.proxy(Node())"
            ),
            "proxy.x = 1\nseen += [node.x, type(proxy).__name__, method()(), reference() is node]",
            "del node\nseen += ['None' in repr(lost), reference(), method(), sorted(gone)]",
        ],
        [1, "ProxyType", "it", True, True, None, None, [1, 2]],
    ),
    "the context of decimal": (
        [
            "import decimal\ncontext = decimal.getcontext()\nother = decimal.Context(prec=3)\ncontext.prec = 5",
            "one = 1",
            (
                "context.prec = 4\nseen = [decimal.getcontext() is context, str(one / decimal.Decimal(3))]\n"
                "decimal.setcontext(other)"
            ),
            "other.prec = 2\nseen.append(str(one / decimal.Decimal(3)))",
        ],
        [True, "0.3333", "0.33"],
    ),
    "a function that NumPy calls for errors": (
        [
            (
                "import numpy as np\nseen = []\nbefore = np.seterrcall(lambda kind, flag: seen.append(kind))\n"
                "before = np.seterr(divide='call')"
            ),
            "one = np.ones(1)",
            "one / 0\nbefore = np.seterr(divide='ignore')",
            "one / 0;",
        ],
        ["divide by zero"],
    ),
}

HISTORY: dict[str, tuple[Sequence[str], Any]] = {
    "what cells have shown": (["[1, 2]", "a = 3\na", "seen = _, __, _1, Out[2], sorted(Out), Out[1] is _1"], None),
    "what has a name as well": (["a = [1]\na", "Out[1].append(2)", "seen = a, _1 is a, Out[1] is a"], None),
    "what cannot be stored": (["(i for i in range(3))", "[4]", "seen = _, sorted(Out), len(In)"], ([4], [2], 4)),
    "texts": (["a = 1", "a += 1\na", "%macro again 2\nseen = In[2], _i2, _i, str(again.value)"], None),
}


def test_a_view_that_a_cell_leaves_can_be_released_by_the_next(tmp_path: Path) -> None:
    """What was stored of it held it: `release` failed, and the array could not grow."""
    cells = [
        "import array\nnumbers = array.array('d', [1.5])\nview = memoryview(numbers)\nview[0] = 9",
        "view.release()\nnumbers.append(2)\nseen = list(numbers)",
    ]
    assert run(cells, tmp_path, reuse=False).values["seen"] == [9, 2]


def test_a_cell_that_awaits_nothing_makes_tasks_for_those_that_do(tmp_path: Path) -> None:
    """As in a kernel, whose loop runs meanwhile; and `asyncio.run` goes on to work."""
    cells = [
        "import asyncio\nasync def twice(n):\n    await asyncio.sleep(0)\n    return n * 2",
        "def start(n): return asyncio.ensure_future(twice(n))\none = asyncio.create_task(twice(1))",
        "loop = asyncio.get_event_loop()\ntwo, three = loop.create_task(twice(2)), start(3)",
        "four = asyncio.gather(twice(4), twice(5))",
        "seen = await one, await two, await three, await four",
        "last = asyncio.run(twice(6))",
    ]
    found = run(cells, tmp_path, reuse=False).values
    assert (found["seen"], found["last"]) == ((2, 4, 6, [8, 10]), 12)


@pytest.mark.parametrize("case", HISTORY)
def test_the_history_is_the_same_where_the_session_is_restored(case: str, tmp_path: Path) -> None:
    """Texts of cells and what they have shown; what cannot be stored is missing."""
    cells, seen = HISTORY[case]
    found = run(cells, tmp_path / "restored", reuse=False, history=True, lost_after=1).values["seen"]
    plain = run(cells, tmp_path / "plain", reuse=False, history=True).values["seen"]
    assert found == (plain if seen is None else seen)


@pytest.mark.parametrize("case", CASES)
def test_values_that_cannot_be_stored_are_made_again(case: str, tmp_path: Path) -> None:
    """The session is lost after the last cell but one."""
    cells, seen = CASES[case]
    assert run(cells, tmp_path, reuse=False, lost_after=len(cells) - 2).values["seen"] == seen


@pytest.mark.parametrize("case", STORED)
def test_values_are_what_they_were_where_the_session_is_restored(case: str, tmp_path: Path) -> None:
    """The session is lost before each of the last two cells."""
    cells, seen = STORED[case]
    for lost_after in (len(cells) - 3, len(cells) - 2):
        found = run(cells, tmp_path / str(lost_after), reuse=False, lost_after=lost_after).values["seen"]
        assert found == seen
