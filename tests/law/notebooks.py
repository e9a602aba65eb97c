"""The notebooks of `notebooks/*.txt`: code cells as people write them, in a form that is read as text.

`# === name` begins a notebook, `# %%` a code cell, `# %% [markdown]` text between cells. After the name,
`| run: PATTERN` (also `whole`, `mixed`) says that this way in must end with an error that PATTERN matches;
`| run?: PATTERN`, that it may; `| run: unstorable NAME`, with an error that says that this value, which is needed in
another process, cannot be stored.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import msgspec
import nbformat

SEEDING = "import random\nimport numpy\nrandom.seed(0)\nnumpy.random.seed(0)"
FOLDER = Path(__file__).parent / "notebooks"


class Notebook(msgspec.Struct, frozen=True):
    """Code cells in order, and how each way in is expected to be refused."""

    name: str
    cells: tuple[str, ...]
    refusals: Mapping[str, str] = {}


def notebooks() -> list[Notebook]:
    """Return all notebooks of the folder."""
    found = [one for path in sorted(FOLDER.glob("*.txt")) for one in read(path.read_text())]
    names = [one.name for one in found]
    assert len({*names}) == len(names), "two notebooks have one name"
    return found


def named(name: str) -> Notebook:
    """Return one notebook of the folder."""
    return next(one for one in notebooks() if one.name == name)


def read(text: str) -> list[Notebook]:
    """Return the notebooks of a text; what stands before the first one is a comment."""
    return [_notebook(block) for block in re.split(r"^# === ", text, flags=re.MULTILINE)[1:]]


def public(path: Path) -> Notebook:
    """Return a notebook of somebody else, which begins by seeding, so that its plain run is determined."""
    found = nbformat.read(path, as_version=4)
    cells = [one["source"] for one in found.cells if one["cell_type"] == "code" and one["source"].strip()]
    return Notebook(path.stem, (SEEDING, *cells))


def _notebook(block: str) -> Notebook:
    head, _, body = block.partition("\n")
    name, *facts = head.split(" | ")
    cells = []
    for part in re.split(r"^# %%(?= \[markdown\]$|$)", body, flags=re.MULTILINE)[1:]:
        kind, _, cell = part.partition("\n")
        if not kind:
            cells.append(cell.rstrip("\n"))
    refusals = (fact.partition(": ") for fact in facts)
    return Notebook(name.strip(), tuple(cells), {way.strip(): pattern.strip() for way, _, pattern in refusals})
