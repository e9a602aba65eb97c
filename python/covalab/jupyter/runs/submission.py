"""Submission of a notebook run: a document becomes a lattice and all that a dispatch sends. Nothing is sent here."""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from covalab.blobs import Blobs
from covalab.core.codec import digest_of
from covalab.core.model import NodeKind, Origin, Submission
from covalab.core.notebook_run import NotebookCell, NotebookRun, source_digest
from covalab.jupyter.runs.building import RunCell, lattice_of, run_cells
from covalab.jupyter.runs.cell_options import CellOptions, options_of
from covalab.jupyter.runs.document import CodeCell, Document, NotebookRefused
from covalab.jupyter.runs.messages import RunOptions
from covalab.jupyter.runs.packages import missing_imports, missing_message
from covalab.jupyter.runs.parameters import inject
from covalab.sdk.building.submit import prepare
from covalab.sdk.code.storing import store_bytes
from covalab.sdk.environment import environment


def submission_of(
    document: Document,
    parameters: Mapping[str, Any],
    options: RunOptions,
    blobs: Blobs,
    *,
    first: str = "",
    folder: Path | None = None,
    priority: int = 0,
    resumed: str = "",
) -> Submission:
    """Build everything that the run of a notebook sends.

    Parameters
    ----------
    document
        The notebook.
    parameters
        Values for a cell after the one tagged `parameters`.
    options
        Options of the run.
    blobs
        Where longer texts go.
    first
        The id of the cell to begin with; empty: the first.
    folder
        The working folder; that of the notebook, if not given.
    priority
        See `covalab.dispatch`.
    resumed
        The dispatch that it goes on from.

    Raises
    ------
    NotebookRefused
        If the notebook cannot run: a package is missing, a cell asks for input, an option has no meaning.
    """
    # What its cells were shown to be is the document with the values, as papermill's output is.
    document = inject(document, parameters)
    cells = run_cells(_chosen(document, options, first))
    where = environment(str(folder or document.path.parent))
    _refuse_input(cells)
    if options.check:
        missing = missing_imports([cell.cell.text for cell in cells], where.sys_path)
        if missing:
            raise NotebookRefused(missing_message(missing, sys.executable))
    made_by = Origin(str(document.path))
    lattice = lattice_of(
        cells,
        document.path.stem,
        reuse=options.reuse,
        stop_on_error=options.stop_on_error,
        parallel=options.parallel,
    )
    made = prepare(lattice, (), {}, blobs, priority=priority, where=where, made_by=made_by)
    numbers = {node.name: n for n, node in enumerate(made.graph.nodes) if node.kind is NodeKind.ELECTRON}
    nodes = {cell.cell.id: numbers[cell.part.name] for cell in cells}
    stored = tuple(
        NotebookCell(cell.id, nodes.get(cell.id, -1), source_digest(cell.text)) for cell in document.code_cells
    )
    code = dict(made.code)
    data = json.dumps(_without_outputs(document, nodes), ensure_ascii=False).encode("utf-8", "surrogatepass")
    run = NotebookRun(
        path=str(document.path),
        document=store_bytes(data, blobs, code, digest=digest_of([data])),
        cells=stored,
        parameters=dict(parameters),
        first=first,
        options=msgspec.to_builtins(options),
        resumed=resumed,
    )
    return replace(made, code=code, notebook=run)


def _chosen(document: Document, options: RunOptions, first: str) -> list[tuple[CodeCell, CellOptions]]:
    """Return the cells that run, with their options."""
    cells = document.code_cells
    if first:
        at = next((n for n, cell in enumerate(document.json["cells"]) if cell["id"] == first), None)
        if at is None:
            message = f"{document.path} has no cell with the id {first!r} to begin with; save it, then try again"
            raise NotebookRefused(message)
        cells = [cell for cell in cells if cell.position >= at]
    found: list[tuple[CodeCell, CellOptions]] = []
    for number, cell in enumerate(document.code_cells, 1):
        if cell not in cells or not cell.text.strip():
            continue
        chosen = options_of(cell, document.metadata, f"cell {number} of {document.path.name}")
        if chosen.executor:
            message = (
                f"cell {number} of {document.path.name} has the executor {chosen.executor!r}: the cells of a notebook "
                "run share one process; move what needs it into a function with @ct.electron(executor=...)"
            )
            raise NotebookRefused(message)
        if not chosen.skip:
            limit = chosen.time_limit or options.cell_timeout
            may_raise = chosen.may_raise or options.allow_errors
            found.append((cell, replace(chosen, time_limit=limit, may_raise=may_raise)))
    return found


def _refuse_input(cells: Sequence[RunCell]) -> None:
    """Refuse cells that ask for input whatever happens: nobody is there to answer."""
    asking = [
        number
        for number, cell in enumerate(cells, 1)
        if not cell.options.may_raise and any(map(_asks, cell.part.cell.tree.body))
    ]
    if asking:
        numbers = ", ".join(map(str, asking))
        calling = f"cell {numbers} calls" if len(asking) == 1 else f"cells {numbers} call"
        message = (
            f"nothing was run: {calling} input(), and a run in the background has no keyboard; make the answer a "
            "parameter (a cell tagged `parameters`, and -p NAME VALUE), or tag the cell `skip`"
        )
        raise NotebookRefused(message)


def _asks(node: ast.AST) -> bool:
    """Return whether a statement calls `input` on every way through it."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.If, ast.Try, ast.IfExp)):
        return False
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("input", "getpass"):
        return True
    return any(map(_asks, ast.iter_child_nodes(node)))


def _without_outputs(document: Document, nodes: Mapping[str, int]) -> dict[str, Any]:
    """Return the document without the outputs of the cells that run."""
    cells = [
        {**cell, "outputs": [], "execution_count": None} if cell["id"] in nodes else cell
        for cell in document.json["cells"]
    ]
    return {**document.json, "cells": cells}
