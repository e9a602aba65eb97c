"""Notebook run: which cell of a document is which node of a dispatch, as it is stored with the dispatch."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec


class NotebookCell(msgspec.Struct, frozen=True):
    """Code cell of a document: its nbformat id, its node (-1: it is not run), and the digest of its text."""

    id: str
    node: int
    source_digest: str


class NotebookRun(msgspec.Struct, frozen=True):
    """Document of a dispatch that is a notebook.

    Attributes
    ----------
    path
        The file that it was read from.
    document
        The digest of the document as JSON, without the outputs of cells that run: in `Submission.code` or a blob.
    cells
        Its code cells, in order.
    parameters
        The values that replace those of the cell tagged `parameters`.
    first
        The id of the cell with which the run begins; empty: the first.
    options
        Options of the run, by name.
    resumed
        The id of the dispatch that it goes on from; empty: none.
    """

    path: str
    document: str
    cells: tuple[NotebookCell, ...]
    parameters: dict[str, Any] = {}
    first: str = ""
    options: dict[str, Any] = {}
    resumed: str = ""


def source_digest(text: str) -> str:
    """Return the digest of a cell's text, by which a view knows that a cell was changed since."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


class NotebookView(msgspec.Struct, frozen=True):
    """Notebook run for views: the file, its code cells with their nodes, and the status of the dispatch.

    `reused` are the nodes of the cells that did not run, because an earlier run stood for them; `why` says of
    each node that ended why it ran, was reused or was not run.
    """

    path: str
    cells: tuple[NotebookCell, ...]
    status: str
    parameters: dict[str, Any] = {}
    first: str = ""
    resumed: str = ""
    reused: tuple[int, ...] = ()
    why: dict[int, str] = {}
