"""The corpus of cells in `corpus_cells/*.txt`: cells as people write them, with what they need, make and change.

A file is cells with `# %%` lines between them, the first of which makes the notebook's names. A line says what is true
of the cell below it: `in`, `out`, `changes`, `possible`, `optional` (names), `refused` or `syntax` (a pattern of the
message), `figure` (compare types only), `skip` (do not run).
"""

from __future__ import annotations

import copy
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import msgspec
import numpy as np
import pandas as pd

FOLDER = Path(__file__).parent / "corpus_cells"


class Example(msgspec.Struct, frozen=True):
    """One cell and what is true of it."""

    file: str
    title: str
    code: str
    facts: dict[str, str]

    def names(self, fact: str) -> list[str]:
        """Return the names that a fact lists."""
        return self.facts.get(fact, "").split()

    @property
    def id(self) -> str:
        """How a test report calls it."""
        return f"{self.file}-{self.title.replace(' ', '_')}"


def examples() -> list[Example]:
    """Return every cell of the corpus but the setups."""
    return [example for path in sorted(FOLDER.glob("*.txt")) for example in _read(path) if example.title != "setup"]


def setup_of(file: str) -> str:
    """Return the code that makes the names of a file's notebook."""
    return next(example.code for example in _read(FOLDER / f"{file}.txt") if example.title == "setup")


def _read(path: Path) -> list[Example]:
    found = []
    for block in ("\n" + path.read_text()).split("\n# %% ")[1:]:
        head, _, code = block.partition("\n")
        title, *facts = head.split(" | ")
        pairs = (fact.partition(":") for fact in facts)
        found.append(Example(path.stem, title, code, {name.strip(): value.strip() for name, _, value in pairs}))
    return found


def copied(namespace: dict[str, Any]) -> dict[str, Any]:
    """Return a namespace whose data is a copy, so that one cell cannot change what the next one finds."""
    plain = (types.ModuleType, types.FunctionType, type)
    data = {
        name: value for name, value in namespace.items() if not name.startswith("__") and not isinstance(value, plain)
    }
    return {**namespace, **copy.deepcopy(data)}


def same(left: Any, right: Any) -> bool:
    """Tell whether two values are the same to a reader, arrays and tables included."""
    if isinstance(left, (pd.DataFrame, pd.Series, pd.Index)):
        return type(left) is type(right) and bool(left.equals(right))
    if isinstance(left, np.ndarray):
        return isinstance(right, np.ndarray) and np.array_equal(left, right, equal_nan=left.dtype.kind in "fc")
    if isinstance(left, (list, tuple, dict)):
        if isinstance(left, dict):
            left, right = list(left.items()), list(right.items())
        return type(left) is type(right) and len(left) == len(right) and all(map(same, left, right))
    if hasattr(left, "__name__"):
        return bool(left.__name__ == right.__name__)
    alike = cloudpickle.dumps(left) == cloudpickle.dumps(right) or bool(left == right)
    return alike or (hasattr(left, "__dict__") and same(vars(left), vars(right)))


def describes(namespace: dict[str, Any], kind_of: Callable[[object], Any]) -> Callable[[str], Any]:
    """Return what says what a name of the namespace is."""
    return lambda name: kind_of(namespace[name]) if name in namespace else "none"
