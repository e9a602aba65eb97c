"""Other systems, when they are there: the same fan of no-ops on as many workers.

ipyparallel and Parsl keep no results; they are measured when they are installed here. Prefect and Covalent do, and need
an environment of their own: `--peer prefect=/path/to/python` (Prefect 3) and `--peer covalent=/path/to/python`
(Covalent 0.240.0, with ``fastapi==0.115.12`` and ``networkx==3.4.2``, without which it does not dispatch today).
"""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
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


PREFECT = """
import os, sys, tempfile, time
os.environ.update(
    PREFECT_HOME=tempfile.mkdtemp(),
    PREFECT_LOGGING_LEVEL="CRITICAL",
    PREFECT_SERVER_ANALYTICS_ENABLED="false",
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS="120",
)
from prefect import flow, task
from prefect.task_runners import ThreadPoolTaskRunner
@task(persist_result=True)
def no_op(x): return x
@flow(task_runner=ThreadPoolTaskRunner(max_workers=2))
def fan(n): return [future.result() for future in no_op.map(list(range(n)))]
if __name__ == "__main__":
    fan(4)
    n = int(sys.argv[1])
    began = time.perf_counter()
    assert fan(n) == list(range(n))
    print("seconds", time.perf_counter() - began)
"""

COVALENT = """
import os, subprocess, sys, tempfile, time
home = tempfile.mkdtemp()
os.environ.update(
    HOME=home, COVALENT_CONFIG_DIR=home, XDG_CONFIG_HOME=home, XDG_DATA_HOME=home, XDG_CACHE_HOME=home,
    COVALENT_SVC_PORT=sys.argv[2],
)
command = [os.path.join(os.path.dirname(sys.executable), "covalent")]
subprocess.run([*command, "start", "-n", "2", "--no-triggers"], check=True, stdout=subprocess.DEVNULL)
try:
    import covalent as ct
    @ct.electron
    def no_op(x): return x
    @ct.lattice
    def fan(n): return [no_op(x) for x in range(n)]
    assert ct.dispatch_sync(fan)(2).result == [0, 1]
    n = int(sys.argv[1])
    began = time.perf_counter()
    assert ct.dispatch_sync(fan)(n).result == list(range(n))
    print("seconds", time.perf_counter() - began)
finally:
    subprocess.run([*command, "stop"], stdout=subprocess.DEVNULL)
"""

ELSEWHERE: dict[str, str] = {"prefect": PREFECT, "covalent": COVALENT}
"""Programs that take the number of no-ops, and a free port of loopback."""


def seconds_elsewhere(name: str, python: str, n: int) -> float:
    """Return the seconds a system takes that lives in an environment of its own."""
    with tempfile.NamedTemporaryFile("w", suffix=".py") as program, socket.socket() as free:
        program.write(ELSEWHERE[name])
        program.flush()
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        done = subprocess.run([python, program.name, str(n), str(port)], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


PEERS: dict[str, Callable[[int], float]] = {"ipyparallel": ipyparallel, "parsl": parsl}


def installed() -> dict[str, Callable[[int], float]]:
    """Return those of the peers that can be imported here."""
    return {name: run for name, run in PEERS.items() if importlib.util.find_spec(name) is not None}
