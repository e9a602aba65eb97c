"""Outputs of an earlier run, shown again."""

from __future__ import annotations

import sys

from covalab.blobs import BlobStore
from covalab.core import outputs
from covalab.core.model import Value
from covalab.worker.outputs.recorder import recorder


def show_again(value: Value, blobs: BlobStore, count: int) -> None:
    """Show what a run has shown, as if it ran now; `count` is the number of its cell."""
    for output in outputs.decode(blobs.load(value)):
        kind = output["output_type"]
        if kind == "stream":
            stream = getattr(sys, output["name"])
            stream.write(output["text"])
            stream.flush()
        elif kind == "execute_result":
            recorder.result(output["data"], output.get("metadata"), count)
        elif kind == "display_data":
            recorder.display(output["data"], output.get("metadata"))
        elif kind == "error":
            recorder.failure(None, output["ename"], output["evalue"], output["traceback"])
