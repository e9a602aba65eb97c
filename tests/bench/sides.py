"""The two sides of the bench: raw Dask, and us."""

from __future__ import annotations

import math
import random
import time
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


def uneven(n: int, seed: int = 1) -> list[float]:
    """Return durations from 1 ms to 2 s, evenly spread over the orders of magnitude."""
    draw = random.Random(seed)
    return [math.exp(draw.uniform(math.log(0.001), math.log(2.0))) for _ in range(n)]


def makespan(durations: list[float]) -> float:
    """Return the shortest time in which the workers could do these."""
    return max(sum(durations) / N_WORKERS, *durations)


def resting(seconds: float) -> float:
    """Take a while without a core, so that the bench measures who waits for whom and not two busy cores."""
    time.sleep(seconds)
    return seconds


def fitted(x: int) -> float:
    """Import scikit-learn and fit something small; return the seconds that took the task."""
    began = time.perf_counter()
    from sklearn.linear_model import LinearRegression

    LinearRegression().fit([[x], [x + 1]], [0, 1])
    return time.perf_counter() - began


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

    def one(self) -> None:
        """Run one no-op."""
        assert self.client.submit(no_op, 1, pure=False).result() == 1

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

    def uneven(self, durations: list[float]) -> None:
        """Run tasks of very different length."""
        self.client.gather([self.client.submit(resting, seconds, pure=False) for seconds in durations])

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
        resting_, fitted_ = ct.electron(resting), ct.electron(fitted)

        @ct.lattice
        def fan(n: int) -> object:
            return [no_op_(x) for x in range(n)]

        @ct.lattice
        def one() -> object:
            return no_op_(1)

        @ct.lattice
        def fits(n: int) -> object:
            return [fitted_(x) for x in range(n)]

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

        @ct.lattice
        def rests(durations: list[float]) -> object:
            return [resting_(seconds) for seconds in durations]

        lattices = (fan, one, fits, chain, arrays, cpu, rests)
        self.lattices = {lattice.__name__: lattice for lattice in lattices}
        self.fan(4)

    def _run(self, name: str, *args: Any) -> Any:
        result = self.ct.dispatch_sync(self.lattices[name])(*args)
        assert result.status == "COMPLETED", result.error
        return result.result

    def fan(self, n: int) -> None:
        """Run `n` independent no-ops."""
        assert len(self._run("fan", n)) == n

    def one(self) -> None:
        """Run a dispatch of one no-op."""
        assert self._run("one") == 1

    def fits(self, n: int) -> list[float]:
        """Run `n` tasks that need scikit-learn, side by side; return the seconds that each says it took."""
        return list(self._run("fits", n))

    def chain(self, n: int) -> None:
        """Run `n` no-ops one after the other."""
        assert self._run("chain", n) == 1

    def arrays(self, n: int) -> None:
        """Make `n` arrays and reduce them."""
        assert self._run("arrays", n) >= 0

    def cpu(self, n: int, seconds: float) -> None:
        """Run `n` tasks that keep a core busy."""
        self._run("cpu", n, seconds)

    def uneven(self, durations: list[float]) -> None:
        """Run tasks of very different length."""
        assert self._run("rests", durations) == durations

    def build(self, n: int) -> None:
        """Build a graph of `n` electrons."""
        self.lattices["fan"].build_graph(n)

    def close(self) -> None:
        """End the dispatcher."""
        from covalab.client import connect

        connect().stop()
