"""Cells of a session beside the same cells in a kernel, and what a cell made beside a plain write of it."""

from __future__ import annotations

import itertools
import os
import statistics
import time
from pathlib import Path

import numpy as np
from jupyter_client.manager import start_new_kernel

import covalab as ct
from covalab.blobs import BlobStore
from covalab.jupyter.cells.header import read_header
from covalab.jupyter.notebook.electron_cell import Options
from covalab.jupyter.notebook.session import Session
from covalab.namespace.covariables import Tracker

CELLS = 100
MEGABYTES = 100


def in_a_session() -> float:
    """Return the milliseconds that one of a hundred cells `x = 1` takes, from the start of the first to the end."""
    session = Session({"__name__": "__main__"})
    for number in range(CELLS):
        session.define(read_header(""), "%%electron\nx = 1", 2, Options(), key=str(number))
    result = ct.get_result(ct.dispatch(session.wire("cells")[0])(), wait=True)
    nodes = [node for node in result.get_all_node_results() if not node["node_name"].startswith(":")]
    times = sorted(node["end_time"] for node in nodes)
    steps = [(after - before).total_seconds() for before, after in itertools.pairwise(times)]
    return float(1000 * statistics.median(steps))


def in_a_kernel() -> float:
    """Return the milliseconds that such a cell takes in a kernel, from the request to its reply."""
    manager, client = start_new_kernel()
    try:
        taken = []
        for _ in range(CELLS):
            began = time.perf_counter()
            client.execute_interactive("x = 1", timeout=240)
            taken.append(1000 * (time.perf_counter() - began))
        return statistics.median(taken)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()


def storing(folder: Path) -> float:
    """Return the seconds that storing 100 MB of arrays after a cell takes."""
    arrays = _arrays()
    namespace = {f"a{number}": array for number, array in enumerate(arrays)}
    tracker = Tracker(namespace)
    began = time.perf_counter()
    tracker.store(BlobStore(folder / "blobs"), None)
    return time.perf_counter() - began


def writing(folder: Path) -> float:
    """Return the seconds that a plain write of as many bytes takes, on the disk too."""
    arrays = _arrays()
    folder.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    for number, array in enumerate(arrays):
        with (folder / f"plain-{number}").open("wb") as file:
            file.write(array.data)
            file.flush()
            os.fsync(file.fileno())
    return time.perf_counter() - began


def _arrays() -> list[np.ndarray[tuple[int], np.dtype[np.float64]]]:
    draw = np.random.default_rng()
    return [draw.random(MEGABYTES * 2**20 // 8 // 4) for _ in range(4)]
