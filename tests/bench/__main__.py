"""`python -m tests.bench [--rounds N] [--only KEY,...] [--growth] [--json FILE]`: our numbers beside raw Dask's.

Both sides are measured in turn, A B A B, in one run on one machine, each with the same number of workers; what is
printed is the median of each side and the median of the ratios pair by pair. A machine that drifts moves both.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
from tests.bench import cells, notebooks, page
from tests.bench.far import far_away
from tests.bench.peers import installed, seconds_elsewhere
from tests.bench.processor_time import by_part
from tests.bench.sides import N_WORKERS, Covalab, RawDask, makespan, uneven

from covalab.client import connect, data_dir
from covalab.client.launcher import find

ARTIFACTS = Path(__file__).parents[2] / "artifacts" / "bench"

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
from covalab import get_result
began = time.perf_counter()
assert len(get_result(sys.argv[1]).result) == 1000
print(time.perf_counter() - began)
"""

MANY_SMALL = """
import sys, time
import covalab as ct
@ct.electron
def f(x): return x
@ct.lattice
def ten(): return [f(x) for x in range(10)]
from covalab.client import connect
client = connect()
runs = [(time.time(), ct.dispatch(ten)()) for _ in range(25)]
waits = []
for sent_at, run in runs:
    assert ct.get_result(run, wait=True).status == "COMPLETED"
    first = min(state.started_at for state in client.record(run, outputs="none").nodes if state.attempt)
    waits.append(first - sent_at)
print(*waits)
"""

SERIAL, SERIAL_PARTS = 1000, 10
IDLE = 0.0006
"""Seconds of processor time that a process takes beside a dispatch of the other side."""
LEARNING_SECONDS = 5.0
"""The time that workers may take to prepare for what the tasks of a dispatch have imported."""


def seconds(what: Callable[[], None]) -> float:
    """Time one call."""
    began = time.perf_counter()
    what()
    return time.perf_counter() - began


def program(text: str, folder: Path, *args: str) -> list[str]:
    """Run a program and return the words it prints."""
    path = folder / "program.py"
    path.write_text(text)
    done = subprocess.run([sys.executable, str(path), *args], capture_output=True, text=True, check=True)
    return done.stdout.split()


def until_first_result(text: str, folder: Path) -> float:
    """Return the seconds from starting a program to its first result."""
    began = time.time()
    return float(program(text, folder)[-1]) - began


class Row:
    """One line of the table."""

    def __init__(self, name: str, goal: str, ours: list[float], other: list[float] | None, unit: str = "s") -> None:
        self.name, self.goal, self.ours, self.other, self.unit = name, goal, ours, other, unit

    def markdown(self) -> str:
        """Return the line."""
        ours = statistics.median(self.ours)
        if self.other is None:
            return f"| {self.name} | | {ours:.3f} {self.unit} | | {self.goal} |"
        ratio = statistics.median(a / b for a, b in zip(self.ours, self.other, strict=True))
        other = statistics.median(self.other)
        return f"| {self.name} | {other:.3f} {self.unit} | {ours:.3f} {self.unit} | {ratio:.3f} x | {self.goal} |"


class Bench:
    """The rows, as they are measured."""

    def __init__(self, rounds: int, only: set[str]) -> None:
        self.rounds, self.only = rounds, only
        self.rows: list[Row] = []

    def add(
        self, key: str, name: str, goal: str, ours: Callable[[], float], other: Callable[[], float] | None = None
    ) -> None:
        """Measure one row and print it."""
        if self.only and key not in self.only:
            return
        pairs = [(ours(), other() if other else 0.0) for _ in range(self.rounds)]
        self.show(Row(name, goal, [a for a, _ in pairs], [b for _, b in pairs] if other else None))

    def show(self, row: Row) -> None:
        """Print a row and keep it."""
        self.rows.append(row)
        print(row.markdown(), flush=True)


@contextmanager
def both() -> Iterator[tuple[Covalab, RawDask]]:
    """Start both sides, end both."""
    ours, dask = Covalab(), RawDask()
    try:
        yield ours, dask
    finally:
        dask.close()
        ours.close()


@contextmanager
def jupyter_server(folder: Path) -> Iterator[None]:
    """Run a Jupyter server with the extension. Nothing was dispatched yet when it is up."""
    with (folder / "jupyter.log").open("wb") as log:
        server = subprocess.Popen(
            [
                *(sys.executable, "-m", "jupyter", "server", "--allow-root", "--ServerApp.open_browser=False"),
                *("--ServerApp.ip=127.0.0.1", "--ServerApp.port=0", "--ServerApp.port_retries=0"),
                *("--ServerApp.jpserver_extensions", "covalab=True", f"--ServerApp.root_dir={folder}"),
            ],
            stdout=log,
            stderr=log,
        )
    try:
        while (address := find(data_dir())) is None:  # the dispatcher that the extension starts
            assert server.poll() is None, (folder / "jupyter.log").read_text()
            time.sleep(0.05)
        client = connect(start=False)
        while [pool.state for pool in client.status().pools] != ["up"]:
            time.sleep(0.05)
        assert client.status().pid == address.pid
        yield
    finally:
        server.terminate()
        server.wait()


def starts(bench: Bench, folder: Path) -> None:
    """Measure the time to a first result."""

    def cold() -> float:
        taken = until_first_result(COLD_COVALAB, folder)
        connect(start=False).stop()
        return taken

    def dask() -> float:
        return until_first_result(COLD_DASK, folder)

    bench.add("cold", "first result from a cold start (whole program)", "<= 3 x", cold, dask)
    if not bench.only or "warm" in bench.only:
        with jupyter_server(folder):
            bench.add(
                "warm",
                "the same when a Jupyter server with the extension is up",
                "<= 1.2 x",
                lambda: until_first_result(COLD_COVALAB, folder),
                dask,
            )


def work(bench: Bench, ours: Covalab, dask: RawDask, folder: Path) -> None:
    """Measure work beside raw Dask's."""

    def row(key: str, name: str, goal: str, method: str, *args: object) -> None:
        bench.add(
            key,
            name,
            goal,
            lambda: seconds(lambda: getattr(ours, method)(*args)),
            lambda: seconds(lambda: getattr(dask, method)(*args)),
        )

    row("fan1000", "1,000 no-ops, every result durable", "<= 0.12 x", "fan", 1000)
    row("fan10000", "10,000 no-ops", "<= 0.06 x", "fan", 10_000)
    row("chain", "chain of 100", "<= 0.10 x", "chain", 100)
    row("arrays", "20 x 10 MB arrays, one reduction, all durable", "<= 1.5 x", "arrays", 20)
    bench.add(
        "arrays",
        "the same; beside it raw Dask, then a plain write of as many bytes with fsync",
        "<= 1.0 x",
        lambda: seconds(lambda: ours.arrays(20)),
        lambda: seconds(lambda: dask.arrays(20)) + cells.writing(folder) + cells.writing(folder),
    )
    row("cpu", "200 x 50 ms CPU", "<= 1.05 x", "cpu", 200, 0.05)
    durations = uneven(60)
    ideal = makespan(durations)
    bench.add(
        "uneven",
        f"60 tasks of 1 ms to 2 s, against the ideal {ideal:.2f} s",
        "<= 1.15 x",
        lambda: seconds(lambda: ours.uneven(durations)),
        lambda: ideal,
    )
    bench.add("build", "build a graph of 10,000 electrons", "<= 0.3 s", lambda: seconds(lambda: ours.build(10_000)))


def serial(bench: Bench, ours: Covalab, dask: RawDask) -> None:
    """Measure dispatches of one node, one after the other: each waits for the value of the one before."""
    if bench.only and "serial" not in bench.only:
        return
    sides: tuple[Covalab | RawDask, ...] = (ours, dask)
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(SERIAL_PARTS):  # in turn, because the machine drifts
        for side, into in zip(sides, taken, strict=True):
            side.one()
            into.extend(1000 * seconds(side.one) for _ in range(SERIAL // SERIAL_PARTS))
    medians = [statistics.median(one) for one in taken]
    p95s = [sorted(one)[len(one) * 95 // 100] for one in taken]
    what = f"{SERIAL:,} one-node dispatches, one after the other"
    for name, (our, other), goal in (("median", medians, "<= 1.5 x"), ("p95", p95s, "<= 2 x")):
        bench.show(Row(f"{what}: {name} of one", goal, [our], [other], "ms"))
    for side, root in zip(sides, (connect().status().pid, os.getpid()), strict=True):
        spent = by_part(root, side.one, SERIAL // SERIAL_PARTS)
        parts = ", ".join(f"{part} {1000 * each:.1f}" for part, each in spent.items() if each >= IDLE)
        print(f"processor time of one, in ms: {type(side).__name__}: {parts}", flush=True)


def learned(bench: Bench) -> None:
    """Measure the first task of a dispatch that imports scikit-learn, when another dispatch did before.

    Before raw Dask starts: its cluster leaves variables in this process that scikit-learn reads when it is imported,
    so that the second dispatch would import it itself, and only those after it would find it. And in a data folder of
    its own: a task process that has scikit-learn from its stem takes longer to fork, in all other rows.
    """
    if bench.only and "learned" not in bench.only:
        return
    before = os.environ["COVALAB_DATA_DIR"]
    os.environ["COVALAB_DATA_DIR"] = f"{before}-learned"
    ours = Covalab()
    ours.fits(1)
    time.sleep(LEARNING_SECONDS)
    in_task, whole = [], []
    for _ in range(2 * bench.rounds):
        began = time.perf_counter()
        in_task.append(1000 * max(ours.fits(N_WORKERS)))
        whole.append(1000 * (time.perf_counter() - began))
    ours.close()
    os.environ["COVALAB_DATA_DIR"] = before
    what = "first task that needs scikit-learn, after another dispatch did"
    bench.show(Row(f"{what}: in the task", "<= 50 ms", in_task, None, "ms"))
    bench.show(Row("the same, worst", "<= 50 ms", [max(in_task)], None, "ms"))
    bench.show(Row("the same, from dispatch to value", "<= 100 ms", whole, None, "ms"))


def sessions(bench: Bench, folder: Path) -> None:
    """Measure a bare cell in a session, and storing what it made."""
    if bench.only and "sessions" not in bench.only:
        return
    pairs = [(cells.in_a_session(), cells.in_a_kernel()) for _ in range(bench.rounds)]
    ours, kernel = ([pair[side] for pair in pairs] for side in (0, 1))
    bench.show(Row("a bare cell `x = 1` in a session; beside it in a kernel", "+ 10 ms", ours, kernel, "ms"))
    bench.add(
        "sessions",
        "store 100 MB of arrays after a cell; beside it write and fsync",
        "<= 1.3 x",
        lambda: cells.storing(folder),
        lambda: cells.writing(folder),
    )


def whole_notebooks(bench: Bench, folder: Path, elsewhere: Sequence[str]) -> None:
    """Measure notebooks from the command to the written notebook, beside papermill where that is installed."""
    if bench.only and "notebooks" not in bench.only:
        return
    pythons = [python for name, _, python in (peer.partition("=") for peer in elsewhere) if name == "papermill"]
    light, firsts = notebooks.light(folder), itertools.count(1)
    bench.add(
        "notebooks",
        f"a notebook of {notebooks.LIGHT} light cells, command to written notebook; beside it papermill",
        "<= 1.0 x",
        lambda: seconds(lambda: notebooks.ours(notebooks.light(folder, next(firsts)))),  # nothing is reused
        (lambda: seconds(lambda: notebooks.papermill(light, pythons[0]))) if pythons else None,
    )
    independent = notebooks.independent(folder)
    bench.add(
        "notebooks",
        "four independent cells of five seconds (`--parallel`, two processors); beside it papermill",
        "<= 0.6 x",
        lambda: seconds(lambda: notebooks.ours(independent, "--parallel", "--fresh")),
        (lambda: seconds(lambda: notebooks.papermill(independent, pythons[0]))) if pythons else None,
    )
    notebooks.ours(notebooks.slow_then(folder, "total"))
    edits = itertools.count()
    bench.add(
        "notebooks",
        "a second run after an edit of the last cell",
        "<= 2 s",
        lambda: seconds(lambda: notebooks.ours(notebooks.slow_then(folder, f"total + {next(edits)}"))),
    )


def fetching(bench: Bench, ours: Covalab, folder: Path) -> None:
    """Measure reading a finished dispatch in a new process."""
    run = str(ours.ct.dispatch(ours.lattices["fan"])(1000))
    ours.ct.get_result(run, wait=True)
    bench.add(
        "get_result",
        "`get_result` of 1,000 nodes, new process, after import",
        "<= 0.05 s",
        lambda: float(program(GET_RESULT, folder, run)[-1]),
    )


def listing(bench: Bench, ours: Covalab) -> None:
    """Measure lists and counts of tasks after a dispatch of 100,000."""
    if bench.only and "listing" not in bench.only:
        return
    ours.ct.get_result(ours.ct.dispatch(ours.lattices["fan"])(100_000), wait=True)
    for name, ask in {"list_tasks": ours.ct.list_tasks, "summary": ours.ct.summary}.items():
        bench.add("listing", f"`{name}` over 100,000 tasks", "<= 0.05 s", lambda ask=ask: seconds(ask))  # type: ignore[misc]


def crowd(bench: Bench, folder: Path) -> None:
    """Measure how long a small dispatch waits for its first node when four clients send a hundred at once."""
    if bench.only and "crowd" not in bench.only:
        return
    worst = []
    for _ in range(bench.rounds):
        path = folder / "many_small.py"
        path.write_text(MANY_SMALL)
        clients = [subprocess.Popen([sys.executable, str(path)], stdout=subprocess.PIPE, text=True) for _ in range(4)]
        waits = sorted(float(word) for client in clients for word in client.communicate()[0].split())
        assert len(waits) == 100
        worst.append(waits[94])
    bench.show(Row("100 dispatches of 10 by 4 clients: p95 to the first node", "<= 1 s", worst, None))


def peers(bench: Bench, ours: Covalab, elsewhere: Sequence[str]) -> None:
    """Measure a fan of no-ops beside whatever else is installed, here or elsewhere."""
    for name, _, python in (peer.partition("=") for peer in elsewhere if not peer.startswith("papermill=")):
        pairs = [(seconds(lambda: ours.fan(100)), seconds_elsewhere(name, python, 100)) for _ in range(bench.rounds)]
        bench.show(Row(f"100 no-ops, beside {name}", "", [a for a, _ in pairs], [b for _, b in pairs]))
    if bench.only and "peers" not in bench.only:
        return
    for name, run in installed().items():
        pairs = [(seconds(lambda: ours.fan(1000)), run(1000)) for _ in range(bench.rounds)]
        bench.show(Row(f"1,000 no-ops, beside {name}", "", [a for a, _ in pairs], [b for _, b in pairs]))


def pages(bench: Bench) -> None:
    """Measure the page of a dispatch of ten thousand nodes, none of them folded, in Chromium."""
    if bench.only and "page" not in bench.only:
        return
    browser = page.chromium()
    if browser is None:
        print("| the page in a browser | | | | no Chromium |")
        return
    visits = [page.visit(browser) for _ in range(bench.rounds)]
    graph = f"{page.NODES:,} drawn nodes"
    for name, goal, values in (
        (f"{graph}: zoom, median of the frames", "<= 33 ms", [visit.frame for visit in visits]),
        ("the same, p95", "<= 33 ms", [visit.frame_p95 for visit in visits]),
        ("the same, p95, processor time of the main thread", "<= 33 ms", [v.frame_processor_p95 for v in visits]),
        (f"{graph}: first picture after the data", "<= 300 ms", [visit.first_picture for visit in visits]),
        ("the same, processor time of the main thread", "<= 300 ms", [v.first_picture_processor for v in visits]),
    ):
        bench.show(Row(name, goal, values, None, "ms"))
    for step, what in (
        ("open", "open the view, until its graph is drawn"),
        ("drawn", "the same, timeline and minimap afterwards"),
        ("zoom", "zoom"),
        ("table", "table of the tasks: open, sort, filter, scroll, keys"),
    ):
        tasks = [visit.longest[step] for visit in visits]
        name = f"{graph}, longest task, {what}"
        bench.show(Row(name, "<= 100 ms", [task.clock for task in tasks], None, "ms"))
        bench.show(Row("the same, processor time", "<= 100 ms", [task.processor for task in tasks], None, "ms"))


def far(bench: Bench, folder: Path) -> None:
    """Measure values on two hosts that share no folder with this one; only root can make such hosts."""
    if bench.only and "far" not in bench.only:
        return
    if os.getuid() != 0:
        print("| values through two hosts | | | | only as root |")
        return
    with far_away(folder) as both_sides:
        add = bench.add
        name = "1,000 nodes x 1 MB through two hosts without a shared folder, until the values are here"
        add("far", name, "<= 1.5 x", lambda: both_sides.results(1000), lambda: both_sides.dask_results(1000))
        name = "200 arguments of 1 MB to two such hosts"
        add("far", name, "", lambda: both_sides.arguments(200), lambda: both_sides.dask_arguments(200))


def fairness(bench: Bench, ours: Covalab) -> None:
    """Measure how much longer a dispatch of one node takes while one of 100,000 runs."""
    if bench.only and "fair" not in bench.only:
        return
    alone = statistics.median(seconds(lambda: ours.fan(1)) for _ in range(5))
    large = ours.ct.dispatch(ours.lattices["fan"])(100_000)
    beside = []
    while ours.ct.get_result(large, status_only=True)["status"] != "COMPLETED":
        beside.append(seconds(lambda: ours.fan(1)) - alone)
    bench.show(Row("delay of a one-node dispatch beside 100,000 nodes, median", "<= 0.5 s", beside, None))
    bench.show(Row("the same, worst", "<= 0.5 s", [max(beside)], None))


def growth(bench: Bench, ours: Covalab) -> None:
    """Measure time per node and the dispatcher's memory from 100 to 100,000 no-ops, and draw it."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    process = psutil.Process(connect().status().pid)
    sizes, per_node, memory = [100, 1000, 3000, 10_000, 30_000, 100_000], [], []
    for size in sizes:
        taken = statistics.median(seconds(lambda size=size: ours.fan(size)) for _ in range(3))  # type: ignore[misc]
        per_node.append(1e6 * taken / size)
        memory.append(process.memory_info().rss / 2**20)
        bench.show(Row(f"{size:,} no-ops, per node", "flat from 1,000", [per_node[-1]], None, "µs"))
    bench.show(Row("dispatcher memory after that", "<= 400 MB", [memory[-1]], None, "MB"))
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), constrained_layout=True)
    left.loglog(sizes, per_node, "o-")
    left.set(xlabel="no-op nodes", ylabel="µs per node", title="time, dispatch to value")
    right.semilogx(sizes, memory, "o-")
    right.set(xlabel="no-op nodes", ylabel="MB", title="dispatcher memory", ylim=(0, None))
    ARTIFACTS.mkdir(parents=True, exist_ok=True)
    figure.savefig(ARTIFACTS / "growth.png", dpi=120)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="keys of rows, comma-separated")
    parser.add_argument("--growth", action="store_true", help="also 100 to 100,000 nodes, with a picture")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON", help="see tests/bench/peers.py")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    bench = Bench(arguments.rounds, set(filter(None, arguments.only.split(","))))
    folder = Path(tempfile.mkdtemp(prefix="covalab-bench-"))
    os.environ["COVALAB_DATA_DIR"] = str(folder / "data")
    os.environ["COVALAB_WORKERS"] = str(N_WORKERS)
    print("| work | raw Dask | covalab | ratio | goal |\n|---|---|---|---|---|")
    pages(bench)
    learned(bench)
    starts(bench, folder)
    far(bench, folder)
    with both() as (ours, dask):
        work(bench, ours, dask, folder)
        serial(bench, ours, dask)
        sessions(bench, folder)
        whole_notebooks(bench, folder, arguments.peer)
        fetching(bench, ours, folder)
        crowd(bench, folder)
        fairness(bench, ours)
        peers(bench, ours, arguments.peer)
        listing(bench, ours)
        if arguments.growth:
            growth(bench, ours)
    if arguments.json:
        rows = [{"name": row.name, "ours": row.ours, "other": row.other, "goal": row.goal} for row in bench.rows]
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
