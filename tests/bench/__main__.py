"""`python -m tests.bench [--rounds N] [--only NAME,...] [--json FILE]`: print each number beside raw Dask's.

Both sides are measured in turn, A B A B, in one run on one machine, each under the same number of workers; what is
printed is the median of each side and the median of the ratios pair by pair. A machine that drifts moves both.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

N_WORKERS = 2


def no_op(x: int) -> int:
    """Do nothing that takes time."""
    return x


def busy(seconds: float) -> float:
    """Keep a core busy."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass
    return seconds


def make_array(seed: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Make 10 MB."""
    return np.full(1_250_000, float(seed))


def reduce_arrays(arrays: list[np.ndarray[Any, np.dtype[np.float64]]]) -> float:
    """Touch every array."""
    return float(sum(array[::4096].sum() for array in arrays))


class RawDask:
    """The other side: futures on a `LocalCluster`, results in the memory of its workers."""

    def __init__(self) -> None:
        from distributed import Client, LocalCluster

        self.cluster = LocalCluster(
            n_workers=N_WORKERS, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0", host="127.0.0.1"
        )
        self.client = Client(self.cluster)
        self.client.gather(self.client.map(no_op, range(4), pure=False))

    def fan(self, n: int) -> None:
        """Run `n` independent no-ops."""
        futures = [self.client.submit(no_op, x, pure=False) for x in range(n)]
        assert len(self.client.gather(futures)) == n

    def chain(self, n: int) -> None:
        """Run `n` no-ops one after the other."""
        future = self.client.submit(no_op, 1, pure=False)
        for _ in range(n - 1):
            future = self.client.submit(no_op, future, pure=False)
        assert future.result() == 1

    def arrays(self, n: int) -> None:
        """Make `n` arrays and reduce them."""
        futures = [self.client.submit(make_array, seed, pure=False) for seed in range(n)]
        assert self.client.submit(reduce_arrays, futures, pure=False).result() >= 0

    def cpu(self, n: int, seconds: float) -> None:
        """Run `n` tasks that keep a core busy."""
        self.client.gather([self.client.submit(busy, seconds, pure=False) for _ in range(n)])

    def close(self) -> None:
        """End the cluster."""
        self.client.close()
        self.cluster.close()


class Covalab:
    """Our side: dispatches, every result on the disk before it is told."""

    def __init__(self) -> None:
        import covalab as ct

        self.ct = ct
        no_op_ = ct.electron(no_op)
        make, reduce_, busy_ = ct.electron(make_array), ct.electron(reduce_arrays), ct.electron(busy)

        @ct.lattice
        def fan(n: int) -> object:
            return [no_op_(x) for x in range(n)]

        @ct.lattice
        def chain(n: int) -> object:
            value = 1
            for _ in range(n):
                value = no_op_(value)
            return value

        @ct.lattice
        def arrays(n: int) -> object:
            return reduce_([make(seed) for seed in range(n)])

        @ct.lattice
        def cpu(n: int, seconds: float) -> object:
            return [busy_(seconds) for _ in range(n)]

        self._fan, self._chain, self._arrays, self._cpu = fan, chain, arrays, cpu
        self.fan(4)

    def _run(self, lattice: Any, *args: Any) -> Any:
        result = self.ct.dispatch_sync(lattice)(*args)
        assert result.status == "COMPLETED", result.error
        return result.result

    def fan(self, n: int) -> None:
        """Run `n` independent no-ops."""
        assert len(self._run(self._fan, n)) == n

    def chain(self, n: int) -> None:
        """Run `n` no-ops one after the other."""
        assert self._run(self._chain, n) == 1

    def arrays(self, n: int) -> None:
        """Make `n` arrays and reduce them."""
        assert self._run(self._arrays, n) >= 0

    def cpu(self, n: int, seconds: float) -> None:
        """Run `n` tasks that keep a core busy."""
        self._run(self._cpu, n, seconds)

    def build(self, n: int) -> None:
        """Build a graph of `n` electrons."""
        self._fan.build_graph(n)

    def close(self) -> None:
        """End the dispatcher."""
        from covalab.client import connect

        connect().stop()


COLD_DASK = """
from distributed import Client, LocalCluster
if __name__ == "__main__":
    cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", host="127.0.0.1")
    client = Client(cluster)
    assert client.submit(lambda x: x + 1, 1).result() == 2
    import time; print(time.time())
"""

COLD_COVALAB = """
import covalab as ct
@ct.electron
def f(x): return x + 1
@ct.lattice
def flow(x): return f(x)
assert ct.dispatch_sync(flow)(1).result == 2
import time; print(time.time())
"""

GET_RESULT = """
import time, sys
import covalab as ct
began = time.perf_counter()
assert len(ct.get_result(sys.argv[1]).result) == 1000
print(time.perf_counter() - began)
"""


def seconds(what: Callable[[], None]) -> float:
    """Time one call."""
    began = time.perf_counter()
    what()
    return time.perf_counter() - began


def script(text: str, folder: Path, *args: str) -> float:
    """Run a program and return the number it prints last."""
    path = folder / "program.py"
    path.write_text(text)
    done = subprocess.run([sys.executable, str(path), *args], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def cold(text: str, folder: Path) -> float:
    """Return the seconds from starting a program to its first result, with nothing running."""
    began = time.time()
    return script(text, folder) - began


class Row:
    """One line of the table."""

    def __init__(self, name: str, goal: str, ours: list[float], dask: list[float] | None) -> None:
        self.name, self.goal, self.ours, self.dask = name, goal, ours, dask

    def markdown(self) -> str:
        """Return the line."""
        ours = statistics.median(self.ours)
        if self.dask is None:
            return f"| {self.name} | | {ours:.3f} s | | {self.goal} |"
        ratio = statistics.median(a / b for a, b in zip(self.ours, self.dask, strict=True))
        return f"| {self.name} | {statistics.median(self.dask):.3f} s | {ours:.3f} s | {ratio:.3f} x | {self.goal} |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    only = set(filter(None, arguments.only.split(",")))
    rounds: int = arguments.rounds
    folder = Path(tempfile.mkdtemp(prefix="covalab-bench-"))
    os.environ["COVALAB_DATA_DIR"] = str(folder / "data")
    os.environ["COVALAB_WORKERS"] = str(N_WORKERS)
    rows: list[Row] = []

    def add(key: str, name: str, goal: str, ours: Callable[[], float], dask: Callable[[], float] | None) -> None:
        if only and key not in only:
            return
        pairs = [(ours(), dask() if dask else 0.0) for _ in range(rounds)]
        row = Row(name, goal, [a for a, _ in pairs], [b for _, b in pairs] if dask else None)
        rows.append(row)
        print(row.markdown(), flush=True)

    print("| work | raw Dask | covalab | ratio | goal |\n|---|---|---|---|---|")
    from covalab.client import connect

    def cold_covalab() -> float:
        taken = cold(COLD_COVALAB, folder)
        connect(start=False).stop()
        return taken

    add("cold", "first result from a cold start", "<= 3 x", cold_covalab, lambda: cold(COLD_DASK, folder))
    ours, dask = Covalab(), RawDask()
    try:
        add(
            "fan1000",
            "1,000 no-ops, every result durable",
            "<= 0.12 x",
            lambda: seconds(lambda: ours.fan(1000)),
            lambda: seconds(lambda: dask.fan(1000)),
        )
        add(
            "fan10000",
            "10,000 no-ops",
            "<= 0.06 x",
            lambda: seconds(lambda: ours.fan(10_000)),
            lambda: seconds(lambda: dask.fan(10_000)),
        )
        add(
            "chain",
            "chain of 100",
            "<= 0.10 x",
            lambda: seconds(lambda: ours.chain(100)),
            lambda: seconds(lambda: dask.chain(100)),
        )
        add(
            "arrays",
            "20 x 10 MB arrays, one reduction, all durable",
            "<= 1.5 x",
            lambda: seconds(lambda: ours.arrays(20)),
            lambda: seconds(lambda: dask.arrays(20)),
        )
        add(
            "cpu",
            "200 x 50 ms CPU",
            "<= 1.05 x",
            lambda: seconds(lambda: ours.cpu(200, 0.05)),
            lambda: seconds(lambda: dask.cpu(200, 0.05)),
        )
        add("build", "build a graph of 10,000 electrons", "<= 0.3 s", lambda: seconds(lambda: ours.build(10_000)), None)
        fetched = str(ours.ct.dispatch(ours._fan)(1000))
        ours.ct.get_result(fetched, wait=True)
        add(
            "get_result",
            "`get_result` of 1,000 nodes, new process",
            "<= 0.05 s",
            lambda: script(GET_RESULT, folder, fetched),
            None,
        )
    finally:
        dask.close()
        ours.close()
    if arguments.json:
        arguments.json.write_text(
            json.dumps([{"name": row.name, "ours": row.ours, "dask": row.dask, "goal": row.goal} for row in rows])
        )


if __name__ == "__main__":
    main()
