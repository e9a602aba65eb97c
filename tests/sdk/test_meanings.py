"""A lattice is its function as it is now, and says so where a name meant something else when it was decorated."""

from __future__ import annotations

import re
import sys
import warnings
from typing import Any

import numpy as np
import pytest

import covalab as ct
from covalab import compat

BEFORE = """
import covalab as ct
import math
import numpy as np

N, WORDS, TABLE = 1, ["a"], {"k": 1}
ARRAY = np.arange(3)

class Model:
    rate = 1
    def fit(self, x):
        return x + self.rate

def helper(x):
    return x + N

@ct.electron
def step(x):
    return helper(x), WORDS, TABLE, ARRAY, Model, math

@ct.electron
@ct.lattice
def below(x):
    return step(x)

@ct.lattice
def workflow(x):
    return step(x), below(x), late(x)

@ct.electron
def late(x):
    return x
"""

STEP = "@ct.electron\ndef step(x):\n    return helper(x), WORDS, TABLE, ARRAY, Model, math\n"

CHANGES = {
    "an electron": (
        "@ct.electron\ndef step(x):\n    return 2\n",
        "'step' as it is now, defined in <change>, line 1;.*it was defined in <cells>",
    ),
    "a sublattice": (
        "@ct.electron\n@ct.lattice\ndef below(x):\n    return x\n",
        "'below' as it is now, defined in <change>, line 1",
    ),
    "a plain function": ("def helper(x):\n    return x - N\n", r"'helper' \(in 'step'\) as it is now, defined in"),
    "a constant in its code": ("def helper(x):\n    return x + N + 1\n", r"'helper' \(in 'step'\)"),
    "a function inside": ("def helper(x):\n    return (lambda: x - N)()\n", r"'helper' \(in 'step'\)"),
    "a function instead of a number": (
        "def N():\n    return 1\n",
        r"'N' \(in 'helper'\) as it is now, defined in .* it was 1",
    ),
    "a number for a function": ("helper = 3\n", r"'helper' \(in 'step'\) as it is now, 3; .* it was defined in"),
    "a number": ("N = 2\n", r"'N' \(in 'helper'\) as it is now, 2; .* it was 1;"),
    "another type": ("N = 1.0\n", r"'N' \(in 'helper'\) as it is now, 1.0;"),
    "a list": ("WORDS = ['b']\n", r"'WORDS' \(in 'step'\) as it is now, \['b'\]; .* it was \['a'\];"),
    "an array": ("ARRAY = np.arange(4)\n", r"'ARRAY' \(in 'step'\) as it is now, .* it was another object"),
    "a class": ("class Model:\n    rate = 1\n    def fit(self, x):\n        return x\n", r"'Model' \(in 'step'\)"),
}

SAME = {
    "nothing": "",
    "the same again": BEFORE.partition("@ct.lattice\ndef workflow")[0].replace("ARRAY = np.arange(3)", ""),
    "the same further down": "\n\n\n" + STEP,
    "an equal value": "N = 1\nWORDS = ['a']\nTABLE = {'k': 1}\n",
    "a module again": "import math\n",
    "a name that it does not use": "unused = 2\nx = 3\n",
    "one that was not there yet": "@ct.electron\ndef late(x):\n    return -x\n",
    "a name that is gone": "del WORDS\n",
    "a list that was changed in place": "WORDS.append('b')\n",
}


def program() -> dict[str, Any]:
    """Run the program as a notebook's cells are."""
    space: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(BEFORE, "<cells>", "exec"), space)
    return space


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_warned_of_once(change: str) -> None:
    """With what it is now, what it was, and both places; the next graph has no more to say."""
    space = program()
    code, said = CHANGES[change]
    exec(compile(code, "<change>", "exec"), space)

    with pytest.warns(UserWarning, match=re.compile(said, re.DOTALL)) as warned:
        space["workflow"].build_graph(1)
    texts = {str(one.message) for one in warned}
    assert len(texts) == len(warned) == 1
    assert all("when the lattice was decorated in <cells>, line 2" in text for text in texts)
    assert all(one.filename == __file__ for one in warned)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        space["workflow"].build_graph(1)


@pytest.mark.parametrize("change", SAME)
def test_what_means_the_same_is_not_warned_of(change: str) -> None:
    """Running a cell again that has not changed, for one."""
    space = program()
    exec(compile(SAME[change], "<again>", "exec"), space)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        space["workflow"].build_graph(1)


def test_variables_of_the_function_around_count() -> None:
    """A lattice inside a function reads them as they are now, too."""
    step, n = ct.electron(lambda x: x), 1

    @ct.lattice
    def workflow() -> Any:
        return step(n)

    n = 2
    with pytest.warns(UserWarning, match=r"uses 'n' as it is now, 2; .* it was 1"):
        workflow.build_graph()


def test_large_values_are_not_kept_alive() -> None:
    """Only what is small is remembered by its value."""
    import gc
    import weakref

    space: dict[str, Any] = {"__name__": "__main__", "ct": ct, "DATA": np.zeros(1000)}
    exec("@ct.lattice\ndef workflow():\n    return DATA\n", space)
    data = weakref.ref(space["DATA"])
    del space["DATA"]
    gc.collect()

    assert data() is None


def test_behind_the_doorway_a_lattice_is_frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every change is without effect, and without a warning, as in Covalent."""
    monkeypatch.setattr(sys, "path", [compat.DOORWAY, *sys.path])
    space = program()
    exec("def helper(x):\n    return -1\nN = 5\nWORDS.append('b')\n", space)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(NameError, match="late"):  # defined after it
            space["workflow"].build_graph(1)
        assert space["below"].electron_object.lattice(1)[:2] == (2, ["a"])


def test_what_cannot_be_frozen_stays_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Covalent refuses to decorate it."""
    import threading

    monkeypatch.setattr(sys, "path", [compat.DOORWAY, *sys.path])
    lock = threading.Lock()

    @ct.lattice
    def workflow() -> bool:
        return lock.locked()

    assert workflow() is False
