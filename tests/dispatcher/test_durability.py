"""No end is reported that a power cut could take back: every end a reader is given is in the database by then."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import apsw
import pytest

import covalab as ct
from covalab.client import Client
from covalab.core.lifecycle import TERMINAL
from covalab.core.model import Counts, DispatchSummary, TaskQuery
from covalab.sdk.building.submit import prepare

N_CLIENTS = 4
SECONDS = 8.0
SLOW_DISK = """
import sys, time
from pathlib import Path
import apsw
from covalab.dispatcher import __main__ as dispatcher

class SlowFile(apsw.VFSFile):
    def __init__(self, filename, flags):
        super().__init__(DISK, filename, flags)

    def xSync(self, flags):
        time.sleep(float(SYNC_SECONDS.read_text()))
        super().xSync(flags)

class SlowDisk(apsw.VFS):
    def __init__(self):
        super().__init__("slow", DISK, makedefault=True)

    def xOpen(self, name, flags):
        return SlowFile(name, flags)

DISK = apsw.vfs_names()[0]
disk = SlowDisk()
SYNC_SECONDS = Path(sys.argv.pop())
sys.exit(dispatcher.main())
"""


@ct.electron
def quick(x: int, *, fails: bool = False) -> int:
    """Return at once, or fail."""
    if fails:
        message = "on purpose"
        raise ValueError(message)
    return x + 1


@ct.lattice
def small(x: int) -> object:
    """Two in a row, and one beside them that fails now and then."""
    return [quick(quick(x)), quick(x, fails=x % 5 == 4)]


class SlowDisk:
    """A dispatcher whose disk takes as long for each sync as a file says."""

    def __init__(self, folder: Path) -> None:
        self.seconds = folder / "seconds"
        self.data = folder / "data"
        self.slow_down(0.0)
        command = [sys.executable, "-c", SLOW_DISK, "--data-dir", str(self.data), str(self.seconds)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"\n"

    def slow_down(self, seconds: float) -> None:
        """Let each sync from now on take so many seconds."""
        temporary = self.seconds.with_suffix(".new")
        temporary.write_text(str(seconds))
        temporary.replace(self.seconds)

    def client(self) -> Client:
        """Return a client with a connection of its own."""
        return Client(self.data, start=False)

    def end(self) -> None:
        """End the dispatcher."""
        self.slow_down(0.0)
        with suppress(Exception):
            self.client().stop()
            self.process.wait(20)  # it ends its pool first
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SlowDisk]:
    """Return a dispatcher whose disk can be slowed down."""
    it = SlowDisk(tmp_path)
    yield it
    it.end()


class Auditor:
    """Compares what a reader is given with what another connection finds in the database right after."""

    def __init__(self, client: Client) -> None:
        self.client = Client(client.data_dir, start=False)
        self.database = apsw.Connection(str(client.data_dir / "covalab.db"), flags=apsw.SQLITE_OPEN_READONLY)
        self.database.set_busy_timeout(10_000)
        self.n_ends: Counter[str] = Counter()
        self.missing: list[tuple[str, str, str]] = []

    def _statuses(self, dispatch: str) -> tuple[str, dict[int, str]]:
        row = self.database.execute("SELECT key, status FROM dispatches WHERE id = ?", (dispatch,)).fetchone()
        assert row is not None
        return row[1], dict(self.database.execute("SELECT node, status FROM nodes WHERE key = ?", (row[0],)))

    def check(self, view: str, dispatch: str, status: str, counts: Counts, nodes: Mapping[int, str]) -> None:
        """Note each reported end, and those of them that are not on the disk."""
        on_disk, nodes_on_disk = self._statuses(dispatch)
        if status in TERMINAL:
            self.n_ends[view] += 1
            if on_disk != status:
                self.missing.append((view, "status", dispatch))
        found = Counter(nodes_on_disk.values())
        for word in ("completed", "failed", "cancelled", "skipped"):
            self.n_ends[view] += getattr(counts, word)
            if getattr(counts, word) > found[word]:
                self.missing.append((view, "counts", dispatch))
        for node, its in nodes.items():
            self.n_ends[view] += its in TERMINAL
            if its in TERMINAL and nodes_on_disk.get(node) != its:
                self.missing.append((view, "node", f"{dispatch}:{node}"))

    def check_summary(self, view: str, summary: DispatchSummary) -> None:
        """Note the ends in a summary."""
        self.check(view, summary.id, summary.status, summary.counts, {})

    def read_all(self, dispatch: str, working: set[int]) -> None:
        """Read every view of a dispatch once, without waiting."""
        client = self.client
        record = client.record(dispatch, outputs="none")
        states = {state.node: state.status for state in record.nodes if state.node in working}
        self.check("record", dispatch, record.summary.status, record.summary.counts, states)
        changes = client.changes(dispatch)
        states = {state.node: state.status for state in changes.nodes if state.node in working}
        self.check("changes", dispatch, changes.summary.status, changes.summary.counts, states)
        self.check_summary("summary", client.summary(dispatch))
        standing = client.execution(dispatch)
        closed = "completed" if standing.state.lifecycle == "closed" else "running"
        self.check_summary("execution", standing.summary)
        assert closed == "running" or standing.summary.status in TERMINAL
        for summary in client.dispatches(count=20):
            self.check_summary("list", summary)
        for number in working:
            detail = client.node(dispatch, number)
            self.check("node", dispatch, "running", Counts(), {number: detail.status})
            assert detail.status != "completed" or detail.value is not None
        for row in client.tasks(TaskQuery(dispatch=dispatch, status="completed,failed", limit=-1)):
            self.check("tasks", dispatch, "running", Counts(), {row.node: row.status})

    def read_events(self, since: int) -> int:
        """Read what changed lately."""
        page = self.client.events(since, 0)
        for summary in page.dispatches:
            self.check_summary("events", summary)
        return page.since

    def count_tasks(self) -> None:
        """Read the counts of all tasks."""
        counts = self.client.tasks_summary().counts
        query = "SELECT count(*) FROM nodes WHERE status IN ('completed', 'failed')"
        row = self.database.execute(query).fetchone()
        assert row is not None
        ended = counts["completed"] + counts["failed"]
        self.n_ends["counts"] += ended
        if ended > row[0]:
            self.missing.append(("counts", "counts", ""))


def test_every_end_that_is_reported_is_on_the_disk(disk: SlowDisk) -> None:
    """Many small dispatches, a disk that takes 60 ms for each commit, and readers of all views that never wait."""
    client = disk.client()
    first = client.submit(prepare(small, (0,), {}, client.blobs))
    assert client.record(first.id, wait=True, timeout=120).summary.status == "completed"
    working = {node for node, it in enumerate(client.graph(first.id).nodes) if it.function >= 0}
    ids = [first.id]
    disk.slow_down(0.06)
    over = threading.Event()
    errors: list[BaseException] = []
    auditors = [Auditor(client) for _ in range(N_CLIENTS)]

    def submit() -> None:
        sender = Client(client.data_dir, start=False)
        number = 0
        while not over.is_set():
            number += 1
            ids.append(sender.submit(prepare(small, (number,), {}, sender.blobs)).id)
            time.sleep(0.01)

    def read(auditor: Auditor) -> None:
        since = auditor.client.events(-1).since
        while not over.is_set():
            for dispatch in ids[-6:]:
                auditor.read_all(dispatch, working)
            auditor.count_tasks()
            since = auditor.read_events(since)

    def run(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - the test's own thread raises it
            errors.append(error)

    threads = [threading.Thread(target=run, args=(submit,))]
    threads += [threading.Thread(target=run, args=(lambda it=auditor: read(it),)) for auditor in auditors]
    for thread in threads:
        thread.start()
    time.sleep(SECONDS)
    over.set()
    for thread in threads:
        thread.join(60)

    assert not errors
    n_ends = sum((auditor.n_ends for auditor in auditors), Counter[str]())
    missing = [one for auditor in auditors for one in auditor.missing]
    print(f"{len(ids)} dispatches; ends reported: {dict(n_ends)}; not on the disk: {Counter(it[:2] for it in missing)}")
    assert not missing, Counter(it[:2] for it in missing)
    assert set(n_ends) == {"record", "changes", "summary", "execution", "list", "node", "tasks", "events", "counts"}


def test_a_disk_that_hangs_keeps_no_reader_waiting(disk: SlowDisk) -> None:
    """While a commit takes seconds, everything can be read at once, as it was before that commit."""
    client = disk.client()
    first = client.submit(prepare(small, (0,), {}, client.blobs))
    assert client.record(first.id, wait=True, timeout=120).summary.status == "completed"
    dispatch = client.submit(prepare(small, (1,), {}, client.blobs)).id
    disk.slow_down(3.0)
    slowest = 0.0
    deadline = time.monotonic() + 60
    while True:
        began = time.monotonic()
        summary = client.summary(dispatch)
        client.changes(dispatch)
        client.record(dispatch, outputs="none")
        slowest = max(slowest, time.monotonic() - began)
        if summary.status in TERMINAL:
            break
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert slowest < 1.5
