"""Other systems, when they are installed: the same fan of no-ops on as many processes. None of them keeps results."""

from __future__ import annotations

import importlib.util
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.bench.sides import N_WORKERS, no_op


def _seconds(run: Callable[[int], Any], n: int) -> float:
    run(8)  # whatever is started on first use
    began = time.perf_counter()
    assert len(run(n)) == n
    return time.perf_counter() - began


def ipyparallel(n: int) -> float:
    """Return the seconds ipyparallel takes on its load-balanced view."""
    import ipyparallel as ipp  # type: ignore[import-untyped, import-not-found, unused-ignore]

    with ipp.Cluster(n=N_WORKERS) as client:
        view = client.load_balanced_view()
        return _seconds(lambda n: view.map_sync(no_op, range(n)), n)


def parsl(n: int) -> float:
    """Return the seconds Parsl takes on its high-throughput executor."""
    import parsl as library  # type: ignore[import-untyped, import-not-found, unused-ignore]
    from parsl.config import (  # type: ignore[import-untyped, import-not-found, unused-ignore]
        Config,
    )
    from parsl.executors import (  # type: ignore[import-untyped, import-not-found, unused-ignore]
        HighThroughputExecutor,
    )

    os.environ["PYTHONPATH"] = str(Path(__file__).parents[2])  # its workers import the no-op by name
    executor = HighThroughputExecutor(max_workers_per_node=N_WORKERS, address="127.0.0.1", encrypted=False)
    with library.load(Config(executors=[executor], run_dir=tempfile.mkdtemp())):
        app = library.python_app(no_op)
        return _seconds(lambda n: [future.result() for future in [app(x) for x in range(n)]], n)


PEERS: dict[str, Callable[[int], float]] = {"ipyparallel": ipyparallel, "parsl": parsl}


def installed() -> dict[str, Callable[[int], float]]:
    """Return those of the peers that can be imported here."""
    return {name: run for name, run in PEERS.items() if importlib.util.find_spec(name) is not None}
