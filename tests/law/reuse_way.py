"""The way of reuse: a notebook is run from its file, then again, then with one cell edited, each with reuse.

Each of the three runs is compared with a plain run of the same text, made in a folder where the plain runs before it
have left the same files.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Sequence
from pathlib import Path

from IPython.core.inputtransformer2 import TransformerManager
from tests.law.compare import Difference, differences, failed, report
from tests.law.file_way import run_as_file
from tests.law.judge import Verdict
from tests.law.notebooks import Notebook
from tests.law.ways import Run, run_plainly

from covalab.client import Client

_COMMENT = "\n# edited"


def judge_reuse(notebook: Notebook, plain: Run, folder: Path, client: Client, *, seed: int = 0) -> Verdict:
    """Run a notebook three times with reuse, and compare each run with its plain run."""
    edit, edited = edited_cells(notebook.cells, random.Random(f"{notebook.name} {seed}"))
    firsts, place = folder / "reuse", folder / "reuse_plain"
    found: list[Difference] = []
    texts: list[str] = []
    counts: list[str] = []
    here = plain
    leaves_files = bool(plain.files)
    if leaves_files:
        here = run_plainly(notebook.cells, place)
    for title, cells in (("first", notebook.cells), ("again", notebook.cells), (f"edited, {edit}", edited)):
        is_other = leaves_files or not _is_comment(notebook.cells, edited)
        if (cells is edited and is_other) or (title != "first" and leaves_files):
            here = run_plainly(cells, place)
        there, n_reused = run_as_file(cells, firsts, client, reuse=True)
        counts.append(f"{n_reused}/{len(cells)}")
        differing = differences(here, there, cells=len(there.outputs), way="whole")
        said = "" if here.failed_at is not None else failed(there)
        if differing or said:
            found += differing
            texts.append(f"{said}\n{report(differing, f'{notebook.name}, reuse, {title}, {n_reused} cells reused')}")
    shown = f"reused {', '.join(counts)}"
    return Verdict("different", "\n".join(texts), found) if texts else Verdict("same", f"    {shown}; {edit}")


def edited_cells(cells: Sequence[str], random_: random.Random) -> tuple[str, list[str]]:
    """Return what was edited, as text, and the cells with one edited."""
    for number in random_.sample(range(len(cells)), len(cells)):
        edits = [edit for edit in (_other_number, _line_more, _other_layout) if edit(cells[number], random_)]
        if edits:
            text = random_.choice(edits)(cells[number], random_)
            return f"cell {number}: {text[:60]!r}", [*cells[:number], text, *cells[number + 1 :]]
    return "nothing", list(cells)


def _is_comment(cells: Sequence[str], edited: Sequence[str]) -> bool:
    """Return whether an edit is one that a plain run does not show."""
    return [f"{one}{_COMMENT}" if one != other else one for one, other in zip(cells, edited, strict=True)] == [*edited]


def _other_number(cell: str, random_: random.Random) -> str:
    """Return a cell with one of its whole numbers raised by one; nothing if it has none."""
    tree = parsed(cell)
    found = [one for one in ast.walk(tree) if isinstance(one, ast.Constant)] if tree is not None else []
    numbers = [one for one in found if type(one.value) is int and one.lineno == one.end_lineno]
    if not numbers:
        return ""
    chosen = random_.choice(numbers)
    lines = cell.encode().splitlines(keepends=True)
    line = lines[chosen.lineno - 1]
    raised = str(int(str(chosen.value)) + 1).encode()
    lines[chosen.lineno - 1] = line[: chosen.col_offset] + raised + line[chosen.end_col_offset :]
    return b"".join(lines).decode()


def _line_more(cell: str, _: random.Random) -> str:
    """Return a cell that sets one more name; nothing if it is not Python alone."""
    return "" if parsed(cell) is None else f"{cell}\nlaw_edited = [1]\nprint('edited', law_edited)"


def _other_layout(cell: str, _: random.Random) -> str:
    """Return a cell with a comment; nothing if it is not Python alone."""
    return "" if parsed(cell) is None else f"{cell}{_COMMENT}"


def parsed(cell: str) -> ast.Module | None:
    """Return the code of a cell that is Python alone."""
    try:
        return ast.parse(cell) if TransformerManager().transform_cell(cell).rstrip() == cell.rstrip() else None
    except SyntaxError:
        return None
