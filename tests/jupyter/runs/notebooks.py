"""Notebooks of the tests in this folder."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from covalab.client import Client

Written: TypeAlias = "str | tuple[str, Mapping[str, Any]]"


def notebook(*cells_: Written, metadata: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return a notebook: code as text, with metadata as a pair, prose as a text that begins with `#%`."""
    cells: list[dict[str, Any]] = []
    for number, cell in enumerate(cells_):
        text, more = (cell, {}) if isinstance(cell, str) else cell
        one: dict[str, Any] = {"id": f"c{number}", "metadata": dict(more)}
        if text.startswith("#%"):
            one |= {"cell_type": "markdown", "source": text[2:]}
        else:
            one |= {"cell_type": "code", "source": text, "outputs": [], "execution_count": None}
        cells.append(one)
    return {"cells": cells, "metadata": dict(metadata or {}), "nbformat": 4, "nbformat_minor": 5}


def tagged(text: str, *tags: str) -> tuple[str, dict[str, Any]]:
    """Return a cell with tags."""
    return text, {"tags": list(tags)}


def write(path: Path, *cells: Written, metadata: Mapping[str, Any] | None = None) -> Path:
    """Write a notebook to a file."""
    path.write_text(json.dumps(notebook(*cells, metadata=metadata)))
    return path


def code(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the code cells of a document."""
    return [cell for cell in document["cells"] if cell["cell_type"] == "code"]


def shown(cell: Mapping[str, Any]) -> list[str]:
    """Return what a cell shows, as text: streams, plain text of values, names of errors, types of pictures."""
    found = []
    for output in cell["outputs"]:
        if output["output_type"] == "stream":
            found.append("".join(output["text"]))
        elif output["output_type"] == "error":
            found.append(output["ename"])
        else:
            data = output["data"]
            found.append("image" if "image/png" in data else "".join(data["text/plain"]))
    return found


def statuses(document: Mapping[str, Any]) -> list[str]:
    """Return the status of each code cell that ran or was to run."""
    marks: Sequence[Mapping[str, Any]] = [cell["metadata"].get("covalab", {}) for cell in code(document)]
    return [str(mark["status"]) for mark in marks if "status" in mark]


def wait_for_end(client: Client, dispatch: str, seconds: float = 240.0) -> str:
    """Wait for a dispatch to end and return its status."""
    deadline = time.monotonic() + seconds
    while (summary := client.record(dispatch, wait=True, timeout=5.0, outputs="none").summary).ended_at is None:
        assert time.monotonic() < deadline, f"{dispatch} has not ended"
    return summary.status
