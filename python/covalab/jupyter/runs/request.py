"""Request to run a notebook, in the interpreter of its kernel: JSON in, JSON out."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

from covalab.client import Client, connect
from covalab.core.errors import CovalabError
from covalab.core.model import Problem
from covalab.jupyter.runs.document import document_from
from covalab.jupyter.runs.messages import RunRequest, Started
from covalab.jupyter.runs.run import resumed, submitted


def answered(request: bytes, client: Client) -> bytes:
    """Run the notebook of a `RunRequest`, or what is left of its run; return `Started`, or a `Problem`, as JSON."""
    asked = msgspec.json.decode(request, type=RunRequest)
    try:
        document = document_from(asked.document, Path(asked.path))
        if asked.resume:
            submission = resumed(asked.resume, client, document)
        else:
            submission = submitted(document, asked.parameters, asked.options, client, first=asked.first)
    except (CovalabError, TypeError) as error:
        return msgspec.json.encode(Problem(type(error).__name__, str(error)))
    assert submission.notebook is not None
    return msgspec.json.encode(Started(submission.id, submission.notebook.cells))


def main() -> None:
    """Answer the request in standard input on standard output."""
    sys.stdout.buffer.write(answered(sys.stdin.buffer.read(), connect()))
