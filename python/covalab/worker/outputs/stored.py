"""Outputs of a node at its end: folded, and stored as JSON."""

from __future__ import annotations

from contextlib import suppress

from covalab.blobs import BlobStore
from covalab.core.codec import class_name
from covalab.core.errors import DataFolderError
from covalab.core.model import Failure, Value
from covalab.core.outputs import StreamText, derived, encode, error_output, fold
from covalab.worker.outputs import widgets
from covalab.worker.outputs.recorder import recorder


def stored_outputs(stdout: StreamText, stderr: StreamText, failure: Failure | None, blobs: BlobStore) -> Value | None:
    """Store what was recorded since the last time; None if it is no more than what was printed, in that order."""
    widgets.refresh()
    widgets.forget()
    shown = recorder.error
    outputs = fold(recorder.take(), stdout, stderr)
    if outputs == derived(stdout.whole(), stderr.whole(), None):
        return None
    if failure is not None and (shown is None or class_name(type(shown)) != failure.exception):
        outputs.append(error_output(failure))
    with suppress(DataFolderError):  # the value is worth more: what was printed is kept with the node in any case
        return blobs.store(encode(outputs), "outputs")
    return None
