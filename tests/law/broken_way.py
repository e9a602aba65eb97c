"""The way of a failure: one cell of a notebook raises an exception, and what runs after it gives what it would give.

The plain run is that of the notebook without the failure, so every cell that was shown to be independent must show what
it shows there.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Sequence
from pathlib import Path

from tests.law.compare import differences, report
from tests.law.file_way import run_broken
from tests.law.judge import Verdict
from tests.law.notebooks import Notebook
from tests.law.reuse_way import parsed
from tests.law.ways import Run

from covalab.client import Client

_ERROR = "raise RuntimeError('law')"


def judge_broken(notebook: Notebook, plain: Run, folder: Path, client: Client, *, seed: int = 0) -> Verdict:
    """Run a notebook of which one cell fails, and compare the cells that ran with its plain run."""
    if plain.failed_at is not None:
        return Verdict("same", "    has a failure of its own")
    number, cells = broken_cells(notebook.cells, random.Random(f"{notebook.name} {seed}"))
    run, reasons = run_broken(cells, folder / "broken", client)
    ran = [n for n in range(len(cells)) if n not in reasons and n != number]
    there = Run([run.outputs[n] for n in ran])
    here = Run([plain.outputs[n] for n in ran])
    found = [one for one in differences(here, there, cells=len(ran), way="whole") if one.where.startswith("cell")]
    after = [n for n in ran if n > number]
    texts = [f"    cell {number} fails; of {len(cells) - number - 1} after it {len(after)} ran: {after}"]
    texts += [f"      {n}: {reason}" for n, reason in reasons.items()]
    if found:
        return Verdict("different", "\n".join([*texts, report(found, f"{notebook.name}, broken; ran: {ran}")]), found)
    return Verdict("same", "\n".join(texts))


def broken_cells(cells: Sequence[str], random_: random.Random) -> tuple[int, list[str]]:
    """Return the cells with a failure in one of the first two thirds, before one of its statements."""
    numbers = [n for n in range(max(1, len(cells) * 2 // 3)) if parsed(cells[n]) is not None]
    number = random_.choice(numbers or [0])
    return number, [*cells[:number], _failing(cells[number], random_), *cells[number + 1 :]]


def _failing(cell: str, random_: random.Random) -> str:
    tree = parsed(cell)
    lines = cell.split("\n")
    starts = [0]
    if tree is not None:
        starts += [one.lineno - 1 for one in tree.body[1:] if lines[one.lineno - 1][: one.col_offset].strip() == ""]
        is_first = [n for n, one in enumerate(tree.body) if not isinstance(one, ast.Expr)]
        starts = starts if is_first else [0]
    at = random_.choice(starts)
    return "\n".join([*lines[:at], _ERROR, *lines[at:]])
