"""Request to run a notebook, from a Jupyter server to the interpreter of the notebook's kernel: JSON in, JSON out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from covalab.client import connect
from covalab.core.errors import CovalabError
from covalab.core.model import Problem
from covalab.core.notebook_run import NotebookCell
from covalab.jupyter.runs.document import document_from
from covalab.jupyter.runs.run import submitted
from covalab.jupyter.runs.submission import RunOptions

CODE: Final = "from covalab.jupyter.runs.request import answer; answer()"
"""Code that the interpreter runs. It is not a module that it is started with: then the folder would be searched."""


class RunRequest(msgspec.Struct, frozen=True):
    """Request: the notebook as a file and as a document, and how to run it."""

    path: str
    document: Any
    parameters: dict[str, Any] = {}
    options: RunOptions = RunOptions()
    first: str = ""


class Started(msgspec.Struct, frozen=True):
    """Answer: the dispatch, and which cell is which node."""

    dispatch_id: str
    cells: tuple[NotebookCell, ...]


def answer() -> None:
    """Run the notebook of the request in standard input, and write `Started` or a `Problem` to standard output."""
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=RunRequest)
    try:
        document = document_from(request.document, Path(request.path))
        submission = submitted(document, request.parameters, request.options, connect(), first=request.first)
    except (CovalabError, TypeError) as error:
        written: object = Problem(type(error).__name__, str(error))
    else:
        assert submission.notebook is not None
        written = Started(submission.id, submission.notebook.cells)
    sys.stdout.buffer.write(msgspec.json.encode(written))
