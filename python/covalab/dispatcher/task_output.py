"""Output of running tasks, read from the files that their workers write."""

from __future__ import annotations

import os
from pathlib import Path

from covalab.dispatcher.pools import SentBatch
from covalab.worker.capture import read_text


def read_output(folder: Path, batch: SentBatch | None, node: int) -> tuple[str, str]:
    """Return what a task has printed so far, or before it was stopped: stdout, stderr."""
    if batch is None or batch.begun is None or batch.begun.node != node:
        return "", ""
    stem = folder / batch.begun.spool
    texts = []
    for suffix in (".out", ".err"):
        try:
            fd = os.open(f"{stem}{suffix}", os.O_RDONLY)
        except OSError:
            texts.append("")
            continue
        try:
            texts.append(read_text(fd, os.fstat(fd).st_size))
        finally:
            os.close(fd)
    return texts[0], texts[1]
