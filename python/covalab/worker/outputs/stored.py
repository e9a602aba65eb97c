"""Outputs of a node at its end: folded, and stored as JSON."""

from __future__ import annotations

from contextlib import suppress

from covalab.blobs import BlobStore
from covalab.core.codec import class_name
from covalab.core.errors import DataFolderError
from covalab.core.model import Failure, TextTime, Value
from covalab.core.outputs import StreamText, derived, encode, error_output, fold
from covalab.core.run_log import text_times
from covalab.worker.outputs import widgets
from covalab.worker.outputs.recorder import recorder


def stored_outputs(
    stdout: StreamText, stderr: StreamText, failure: Failure | None, blobs: BlobStore
) -> tuple[Value | None, tuple[TextTime, ...]]:
    """Store what was recorded since the last time, and return it with when what was printed.

    None if it is no more than what was printed, in that order.
    """
    widgets.refresh()
    widgets.forget()
    shown = recorder.error
    events = recorder.take()
    times = text_times(events, stdout, stderr)
    outputs = fold(events, stdout, stderr)
    if outputs == derived(stdout.whole(), stderr.whole(), None):
        return None, times
    if failure is not None and (shown is None or class_name(type(shown)) != failure.exception):
        outputs.append(error_output(failure))
    with suppress(DataFolderError):  # the value is worth more: what was printed is kept with the node in any case
        return blobs.store(encode(outputs), "outputs"), times
    return None, times
