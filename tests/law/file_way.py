"""The way of a file: a notebook is written to a folder, run by `covalab run`'s implementation, and read back."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tests.jupyter.runs.notebooks import notebook, wait_for_end
from tests.law.compare import differences, failed, report
from tests.law.judge import Verdict
from tests.law.notebooks import Notebook
from tests.law.reading import read_run
from tests.law.ways import Run, files_in

import covalab as ct
from covalab.client import Client

_SEED = "__import__('random').seed(1); "


def run_as_file(
    cells: Sequence[str],
    folder: Path,
    client: Client,
    *,
    reuse: bool = False,
    parallel: bool = False,
    eager: bool = False,
    meanwhile: Callable[[], None] = lambda: None,
) -> tuple[Run, int]:
    """Run a notebook in the background, from its document alone.

    Return the run, and how many cells were reused, or ran beside others. With `eager` all begin as soon as they can.
    `meanwhile` is called while it runs.
    """
    # The notebook is not in the folder in which it runs, as a plain run has no file there.
    path, place = _written(cells, folder, {"tags": ["parallel"]} if eager else {})
    run = ct.run_notebook(path, folder=place, check=False, reuse=reuse, parallel=parallel, stop_on_error=True)
    meanwhile()
    wait_for_end(client, run)
    files = files_in(place)
    document = ct.get_result(run).notebook()
    collected = read_run(str(run), place, folder / "collected.json")
    found = Run(
        [_outputs(cell) for cell in document["cells"]],
        collected["names"],
        collected["hidden"],
        collected["unavailable"],
        files=files,
    )
    if parallel:
        return found, sum("side by side" in text for text in _reasons(client, str(run)))
    return found, sum("reused" in cell["metadata"].get("covalab", {}) for cell in document["cells"])


def _reasons(client: Client, run: str) -> list[str]:
    """Return why the cells of a run ran when they did."""
    notebook = client.submission(run).notebook
    assert notebook is not None
    details = [client.node(run, cell.node) for cell in notebook.cells if cell.node >= 0]
    return [text for one in details if one.reuse is not None for text in one.reuse.reasons]


def run_broken(cells: Sequence[str], folder: Path, client: Client) -> tuple[Run, dict[int, str]]:
    """Run a notebook of which cells fail; return its outputs, and why cells were not run, by number."""
    path, place = _written(cells, folder)
    run = ct.run_notebook(path, folder=place, check=False, reuse=False)
    wait_for_end(client, run)
    found = ct.get_result(run).notebook()["cells"]
    about = [cell["metadata"].get("covalab", {}) for cell in found]
    reasons = {
        n: one.get("not_run", "unknown") for n, one in enumerate(about) if one.get("status", "completed") == "skipped"
    }
    return Run([[] if n in reasons else _outputs(cell) for n, cell in enumerate(found)]), reasons


def _written(
    cells: Sequence[str], folder: Path, metadata: Mapping[str, Any] = MappingProxyType({})
) -> tuple[Path, Path]:
    """Write a notebook, and return its file and the folder in which it runs."""
    place = folder / "notebook"
    place.mkdir(parents=True, exist_ok=True)
    path = folder / "law.ipynb"
    path.write_text(json.dumps(notebook(*((text, dict(metadata)) for text in _seeded(cells)))))
    return path, place


def _seeded(cells: Sequence[str]) -> list[str]:
    """Return cells of which the first seeds `random`, as a plain run of the law begins."""
    if not any("random" in cell for cell in cells) or cells[0].lstrip().startswith(("%", "!", "from __future__")):
        return list(cells)
    return [_SEED + cells[0], *cells[1:]]


def _outputs(cell: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the outputs of a cell; the file of a syntax error is called as IPython calls it."""
    text = re.sub(r"\(<cell In\[\d+\] [0-9a-f]{8}>, line", "(1.py, line", json.dumps(cell["outputs"]))
    found: list[dict[str, Any]] = json.loads(text)
    return found


def judge_file(one: Notebook, plain: Run, folder: Path, client: Client, *, parallel: bool = False) -> Verdict:
    """Run a notebook from a file and compare it with its plain run."""
    way = "parallel" if parallel else "file"
    run, n_beside = run_as_file(one.cells, folder / way, client, parallel=parallel, eager=parallel)
    title = f"{one.name}, {way}"
    found = differences(plain, run, cells=len(run.outputs), way="whole")
    said = "" if plain.failed_at is not None else failed(run)
    if said:
        return Verdict(
            "failed", f"{title}: failed, and the plain notebook does not: {said}\n{report(found, title)}", found
        )
    if found:
        return Verdict("different", report(found, title), found)
    return Verdict("same", f"    {n_beside} of {len(one.cells)} beside others" if parallel else "")
