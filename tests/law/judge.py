"""The verdict on one notebook in one way: same, different, refused, or failed."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec
from tests.law.compare import Difference, differences, failed, report
from tests.law.notebooks import Notebook, named
from tests.law.ways import Run, Way, run_in_background, run_plainly

from covalab.client import Client

Status = Literal["same", "different", "refused", "failed"]


class Verdict(msgspec.Struct, frozen=True):
    """The verdict, and what to read if it is not `same`."""

    status: Status
    text: str = ""
    found: Sequence[Difference] = ()


def judge(notebook: Notebook, way: Way, plain: Run, folder: Path, client: Client, *, with_ids: bool = True) -> Verdict:
    """Run a notebook in the background and compare it with its plain run."""
    run = run_in_background(way, _cells(notebook, way, plain), folder, client, with_ids=with_ids)
    title = f"{notebook.name}, {way}"
    said = run.refused or ("" if plain.failed_at is not None else failed(run))
    expected = notebook.refusals.get(way)
    if expected is not None:
        is_right = bool(said) and _says(said, expected)
        return Verdict("same") if is_right else Verdict("refused", f"{title}: not refused by {expected!r}: {said!r}")
    allowed = notebook.refusals.get(f"{way}?")
    if run.refused and allowed is not None and re.search(allowed, run.refused):
        return Verdict("same")
    if run.refused:
        return Verdict("refused", f"{title}: refused in cell {run.refused_at}: {run.refused[-1500:]}")
    found = differences(plain, run, cells=len(run.outputs), way=way)
    if said:
        return Verdict(
            "failed", f"{title}: failed, and the plain notebook does not: {said}\n{report(found, title)}", found
        )
    return Verdict("different", report(found, title), found) if found else Verdict("same")


def _says(said: str, expected: str) -> bool:
    """Return whether an error matches a pattern, or names a value and says that it cannot be stored."""
    _, is_unstorable, names = expected.partition("unstorable ")
    if is_unstorable:
        return bool(re.search(rf"\b({names})\b", said) and re.search(r"cannot be (stored|pickled)", said))
    return re.search(expected, said) is not None


def _cells(notebook: Notebook, way: Way, plain: Run) -> Sequence[str]:
    """Return the cells that a way runs: one cell after the other ends with the one that fails, like the plain run."""
    if way == "run" and plain.failed_at is not None:
        return notebook.cells[: plain.failed_at + 1]
    return notebook.cells


@functools.cache
def plain_run(name: str, folder: Path) -> Run:
    """Return the plain run of a notebook, made once for all ways with which it is compared."""
    return run_plainly(named(name).cells, folder / name)
