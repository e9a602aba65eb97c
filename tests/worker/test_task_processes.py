"""Task processes: real ones, forked from a real stem, as a worker uses them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
from tests.waiting import until

from covalab.core.codec import decode, digest_of, encode
from covalab.core.model import DispatchId, Outcome
from covalab.core.process_variables import ProcessVariables
from covalab.core.protocol import Batch, Outcomes, TaskSpec, TaskStarted
from covalab.core.worker_protocol import FROM_WORKER, BatchLost, Job
from covalab.worker import learned_imports
from covalab.worker.capture import OUTPUT_LIMIT
from covalab.worker.task_processes import TaskProcesses

pytestmark = pytest.mark.sampled(18, of="file")


class Worker:
    """A worker without Dask: runs functions as batches, one function a node."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder
        self.processes = TaskProcesses(**options)
        self.variables: dict[bytes, bytes] | None = (
            None  # of the process that dispatches; None: nothing is known of them
        )
        self._number = 0

    def job(self, root: str, *functions: Callable[..., Any], memory: int = 0) -> Job:
        """Return a batch of functions without arguments."""
        self._number += 1
        code, tasks = {}, []
        for node, function in enumerate(functions):
            data = encode(function).join()
            digest = digest_of([data])
            code[digest] = data
            tasks.append(TaskSpec(node, function.__name__, digest, [], {}))
        spool, blobs = str(self.folder / "spool"), str(self.folder / "blobs")
        batch = Batch(self._number, DispatchId(root), tasks, code, 60.0, str(self.folder), sys.path, blobs, spool)
        if self.variables is not None:
            batch = msgspec.structs.replace(batch, variables=ProcessVariables(self.variables).pack())
        return Job("", self._number, root, spool, msgspec.msgpack.encode(batch), memory=memory)

    def messages(self, job: Job, give_place: Callable[[], None] = lambda: None) -> list[Any]:
        """Run a batch and return its messages."""
        found: list[Any] = []
        self.processes.run(job, lambda frame: found.append(FROM_WORKER.decode(frame)), give_place)
        return found

    def values(self, root: str, *functions: Callable[..., Any]) -> list[Any]:
        """Run functions in a process of a dispatch and return their values."""
        return [value(outcome) for outcome in outcomes(self.messages(self.job(root, *functions)))]

    def lost(self, root: str, *functions: Callable[..., Any]) -> BatchLost:
        """Run functions of which one takes its process down."""
        (found,) = [it for it in self.messages(self.job(root, *functions)) if isinstance(it, BatchLost)]
        return found


def outcomes(messages: list[Any]) -> list[Outcome]:
    """Return the outcomes in messages."""
    payloads = [message.payload for message in messages if isinstance(message, Outcomes)]
    return [outcome for payload in payloads for outcome in msgspec.msgpack.decode(payload, type=list[Outcome])]


def value(outcome: Outcome) -> Any:
    """Return the value of a completed node."""
    assert outcome.value is not None, outcome.failure
    assert outcome.value.data is not None
    return decode(outcome.value.data)


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    """Return a worker; its processes end with the test."""
    found = Worker(tmp_path)
    yield found
    found.processes.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """Return a worker for tests that leave it as it was."""
    found = Worker(tmp_path_factory.mktemp("worker"))
    yield found
    found.processes.close()


def until_one(worker: Worker, function: Callable[[], Any], condition: Callable[[Any], object]) -> None:
    """Run a function in new processes until its value is as wanted; between them the worker has time for its stem."""
    for number in range(60):
        if condition(worker.values(f"try{number}", function)[0]):
            return
        time.sleep(1)
    pytest.fail("it did not come")


def pid() -> int:
    """Return the process."""
    import os

    return os.getpid()


def parent() -> int:
    """Return the parent of the process."""
    import os

    return os.getppid()


def test_a_dispatch_has_a_process_of_its_own(shared: Worker) -> None:
    """Its batches share it, two dispatches never do, and it is the leader of a session with one Python thread."""

    def place() -> tuple[int, int, bool]:
        import os
        import threading

        return os.getpid(), os.getsid(0), threading.current_thread() is threading.main_thread()

    (first,), (again,), (other,) = (shared.values(root, place) for root in ("a", "a", "b"))

    assert first == again
    assert first[0] != other[0]
    assert first[1] == first[0]
    assert first[2]


def test_what_one_dispatch_does_to_its_process_no_other_sees(shared: Worker) -> None:
    """Modules, builtins, variables, signals and limits are those of the stem again."""

    def spoil() -> None:
        import builtins
        import json
        import os
        import signal
        import sys

        builtins.spoiled = True  # type: ignore[attr-defined]
        json.dumps = None  # type: ignore[assignment]
        os.environ["SPOILED"] = "1"
        sys.modules["spoiled"] = sys
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        os.umask(0o777)

    def look() -> tuple[bool, str, bool, bool, object]:
        import builtins
        import json
        import os
        import signal
        import sys

        there = hasattr(builtins, "spoiled"), json.dumps([1]), "SPOILED" in os.environ, "spoiled" in sys.modules
        return (*there, signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL)

    shared.values("spoiling", spoil)

    assert shared.values("looking", look) == [(False, "[1]", False, False, True)]


DEATHS: dict[str, tuple[Callable[[], object], str]] = {}


def death(text: str) -> Callable[[Callable[[], object]], Callable[[], object]]:
    """Add a way to die, and the text of its reason."""

    def add(function: Callable[[], object]) -> Callable[[], object]:
        DEATHS[function.__name__] = function, text
        return function

    return add


@death("exit code 3")
def exits() -> None:
    """End at once."""
    import os

    os._exit(3)


@death("exit code 77")
def exits_as_if_asked() -> None:
    """End with the code of a clean end."""
    import os

    os._exit(77)


@death("SIGSEGV")
def crashes() -> None:
    """Read where nothing is."""
    import ctypes

    ctypes.string_at(0)


@death("SIGKILL")
def kills_itself() -> None:
    """End as for lack of memory."""
    import os

    os.kill(os.getpid(), 9)


@death("parent process")
def kills_its_parent() -> None:
    """End the stem."""
    import os
    import time

    os.kill(os.getppid(), 9)
    time.sleep(60)


@death("descriptors")
def closes_everything() -> None:
    """Close the channel, too."""
    import os

    os.closerange(0, 1000)


@death("descriptors")
def closes_all_but_the_streams() -> None:
    """What is printed still works, and the task ends as if nothing was."""
    import os

    os.closerange(3, 1000)


@death("descriptors")
def opens_others() -> None:
    """Open files and sockets under the numbers of those that it closed."""
    import os
    import socket

    os.closerange(3, 1000)
    kept = [end for _ in range(20) for end in socket.socketpair()]
    os.kept_by_the_test = kept  # type: ignore[attr-defined]


@death("SIGABRT")
def aborts() -> None:
    """End as a failed assertion in C does."""
    import os

    os.abort()


@pytest.mark.parametrize("name", DEATHS)
def test_a_death_names_its_node_and_reason_and_takes_nobody_along(shared: Worker, name: str) -> None:
    """The node before it has its outcome or runs again; a process of another dispatch lives on."""
    dies, reason = DEATHS[name]
    waiting: list[Any] = []
    stop = shared.folder / f"stop-{name}"

    def wait_for_the_end(path: str = str(stop)) -> int:
        import os
        import time
        from pathlib import Path

        from covalab.core.place import place

        with place.given:
            while not Path(path).exists():
                time.sleep(0.01)
        return os.getpid()

    beside = threading.Thread(target=lambda: waiting.extend(shared.values("waiting", wait_for_the_end)))
    beside.start()
    time.sleep(0.3)

    lost = shared.lost("dying", pid, dies, pid)

    stop.touch()
    beside.join(20)
    assert (lost.node, reason in lost.reason) == (1, True), lost
    assert len(waiting) == 1
    assert len(shared.values("next", pid)) == 1


def test_a_cancelled_task_is_interrupted_and_the_others_of_its_batch_run(worker: Worker) -> None:
    """`KeyboardInterrupt` arrives in a call that waits, and the process goes on."""
    begun = worker.folder / "begun"

    def sleeps(path: str = str(begun)) -> None:
        import time
        from pathlib import Path

        Path(path).touch()
        time.sleep(60)

    job = worker.job("a", pid, sleeps, pid)
    found: list[Any] = []
    running = threading.Thread(target=lambda: found.extend(worker.messages(job)))
    running.start()
    until(begun.exists)
    began = time.monotonic()
    has_stopped = worker.processes.ask_to_stop("", job.number, [1])
    assert has_stopped is not None
    until(has_stopped)
    running.join(20)

    assert time.monotonic() - began < 2
    ended = outcomes(found)
    assert [outcome.status for outcome in ended] == ["completed", "cancelled", "completed"]
    assert value(ended[0]) == value(ended[2])


def test_a_daemon_ends_with_its_dispatch(worker: Worker) -> None:
    """Also one that has left its session and its parent; and so does a child that ignores signals."""
    pids = worker.folder / "pids"

    def leave_behind(path: str = str(pids)) -> None:
        import os
        import signal
        import time
        from pathlib import Path

        if not os.fork():
            os.setsid()
            if os.fork():
                os._exit(0)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            Path(path).write_text(f"{os.getpid()}\n")
            time.sleep(600)
        os.wait()
        while not (Path(path).exists() and Path(path).read_text().endswith("\n")):
            time.sleep(0.01)

    worker.values("a", leave_behind)
    daemon = int(pids.read_text())

    worker.processes.end_dispatches(["a"])

    until(lambda: not psutil.pid_exists(daemon))


def test_what_a_dead_task_left_behind_ends(worker: Worker) -> None:
    """Its process is gone, so its parent's parent finds them."""
    pids = worker.folder / "pids"

    def die_with_a_child(path: str = str(pids)) -> None:
        import os
        import subprocess
        from pathlib import Path

        child = subprocess.Popen(["sleep", "600"], start_new_session=True)
        Path(path).write_text(str(child.pid))
        os._exit(1)

    worker.lost("a", die_with_a_child)

    until(lambda: not psutil.pid_exists(int(pids.read_text())))


def test_memory_is_limited_with_all_that_a_task_starts(tmp_path: Path) -> None:
    """The reason has both figures; what stays below the limit runs."""
    worker = Worker(tmp_path, memory_limit=400_000_000)

    def eat_in_a_child() -> None:
        import subprocess
        import sys

        subprocess.run([sys.executable, "-c", "x = bytearray(900_000_000); import time; time.sleep(60)"], check=True)

    def eat_little() -> int:
        return len(bytearray(50_000_000))

    try:
        assert worker.values("a", eat_little) == [50_000_000]
        lost = worker.lost("a", eat_in_a_child)
        assert "more than the 0.4 GB that a worker may use" in lost.reason
        assert not lost.over_memory
        (lost,) = worker.messages(worker.job("a", eat_little, eat_in_a_child, memory=300_000_000))[-1:]
        assert "more than the 0.3 GB that it asks for" in lost.reason
        assert (lost.node, lost.over_memory) == (1, True)
    finally:
        worker.processes.close()


def test_a_task_that_waits_gives_its_place_and_what_waits_behind_it(worker: Worker) -> None:
    """Nodes that need nothing of it return at once; those that do run after it."""
    given: list[float] = []

    def waits() -> None:
        from covalab.core.place import place

        with place.given:
            pass
        with place.given:
            pass

    job = worker.job("a", pid, waits, pid)

    messages = worker.messages(job, lambda: given.append(time.monotonic()))

    kinds = [type(message).__name__ for message in messages]
    assert len(given) == 1
    assert kinds.count("TaskWaits") == kinds.count("TaskResumed") == 2
    assert [outcome.node for outcome in outcomes(messages)] == [0, 1]
    assert next(message.returned for message in messages if hasattr(message, "returned")) == [2]


def test_output_without_end_fills_no_disk(worker: Worker) -> None:
    """Three hundred megabytes: at no moment much of it is on the disk, and both ends are kept."""

    def floods() -> None:
        import os

        line = b"x" * 1023 + b"\n"
        os.write(1, b"first\n")
        for _ in range(300_000):
            os.write(1, line)
        os.write(1, b"last\n")

    largest = 0
    found: list[Any] = []
    running = threading.Thread(target=lambda: found.extend(worker.messages(worker.job("a", floods))))
    running.start()
    while running.is_alive():
        used = sum(file.stat().st_blocks * 512 for file in (worker.folder / "spool").glob("*.out"))
        largest = max(largest, used)
        time.sleep(0.01)

    (outcome,) = outcomes(found)
    assert outcome.stdout.startswith("first\n")
    assert outcome.stdout.endswith("last\n")
    assert "bytes left out" in outcome.stdout
    assert len(outcome.stdout) < 1.1 * OUTPUT_LIMIT
    assert largest < 150_000_000


@pytest.mark.nightly
def test_packages_that_one_dispatch_imported_are_there_for_the_next(worker: Worker) -> None:
    """Also submodules; and nothing of the user's folder."""
    learned: list[str] = []
    worker.processes._on_learned = learned.extend
    (worker.folder / "helper_of_mine.py").write_text("")

    def imports() -> None:
        import sys

        sys.path.insert(0, ".")
        import helper_of_mine  # type: ignore[import-not-found]  # noqa: F401
        import networkx.algorithms.centrality  # noqa: F401

    def is_there() -> bool:
        import sys

        return "networkx.algorithms.centrality" in sys.modules

    worker.values("a", imports)
    assert "networkx.algorithms.centrality" in learned
    assert "helper_of_mine" not in learned
    worker.processes.learn(learned)

    until_one(worker, is_there, bool)


def test_a_package_that_starts_a_thread_is_not_imported_beforehand(worker: Worker) -> None:
    """A fork would lose the thread, and find its locks as it left them."""
    probe = "import covalab.worker.learned_imports as it; import sys; sys.path.insert(0, '.');"
    (worker.folder / "threaded_module.py").write_text(
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    )
    code = f"{probe} it.is_installed = lambda name: True; print(it.preload(['json', 'threaded_module']), flush=True)"
    code += "; import os; os._exit(0)"
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=worker.folder, capture_output=True, text=True, check=True, stdin=None
    )

    assert run.stdout.strip() == "threaded_module"
    assert learned_imports.is_installed("numpy")
    assert not learned_imports.is_installed("tests")


@pytest.mark.parametrize(
    ("question", "reads_term"), [("IPython.get_ipython()", "False"), ("import plotly.io._renderers", "True")]
)
def test_a_package_that_looks_for_the_shell_is_not_imported_beforehand(
    worker: Worker, question: str, reads_term: str
) -> None:
    """A stem has none, and the package would show things as in a terminal.

    IPython reads TERM for the title of a terminal. A kernel's is another than that of the stem, and each notebook run
    would import all anew; what other packages read it for is not known.
    """
    (worker.folder / "asking_module.py").write_text(f"import IPython\n{question}\n")
    code = (
        "import covalab.worker.learned_imports as it; import sys; sys.path.insert(0, '.');"
        "it.is_installed = lambda name: True;"
        "print(it.preload(['json', 'IPython.core.interactiveshell', 'tqdm.auto', 'asking_module', 'wave']),"
        "'tqdm.auto' in sys.modules, 'TERM' in it.preloaded().read)"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=worker.folder, capture_output=True, text=True, check=True)

    assert run.stdout.split() == ["asking_module", "False", reads_term]


def test_the_next_stem_imports_under_the_variables_of_the_dispatches(worker: Worker) -> None:
    """What a package reads when it is imported was set in the notebook: only its first tasks import all themselves."""

    def seen() -> tuple[bool, str | None]:
        import os
        import sys

        return "tqdm.std" in sys.modules, os.environ.get("TQDM_NCOLS")

    own = dict(os.environb)
    worker.processes.learn(["tqdm", "tqdm.std"])
    until_one(worker, seen, lambda found: found == (True, None))
    worker.variables = own | {b"TQDM_NCOLS": b"30"}
    assert worker.values("first", seen) == [(False, "30")]
    until_one(worker, seen, lambda found: found == (True, "30"))
    worker.variables = own
    assert worker.values("other", seen) == [(False, None)]


def test_the_next_stem_imports_as_in_a_notebook_for_notebooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pandas asks when it is imported, and shows more columns there."""

    def seen() -> tuple[bool, int]:
        import sys

        is_there = "pandas" in sys.modules
        import pandas as pd

        return is_there, pd.get_option("display.max_columns")

    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")  # a stem has one thread
    worker = Worker(tmp_path)
    try:
        worker.processes.learn(["numpy", "pandas"])
        script = dict(os.environb)
        for worker.variables, columns in ((script, 0), (script | {b"JPY_PARENT_PID": b"1"}, 20), (script, 0)):
            assert worker.values(f"first{columns}", seen)[0][1] == columns
            until_one(worker, seen, lambda found, columns=columns: found == (True, columns))  # type: ignore[misc]
    finally:
        worker.processes.close()


def test_the_next_stem_imports_under_the_hash_seed_that_a_dispatch_shares_with_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dask sets the same one in a program that has a `LocalCluster` as in our workers, whose tasks have none."""

    def seen() -> tuple[bool, str | None]:
        import os
        import sys

        is_there = "pandas" in sys.modules
        import pandas  # noqa: F401, ICN001 - it reads the variable

        return is_there, os.environ.get("PYTHONHASHSEED")

    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")  # a stem has one thread
    monkeypatch.setenv("PYTHONHASHSEED", "6640")
    worker = Worker(tmp_path)
    try:
        worker.processes.learn(["numpy", "pandas"])
        worker.variables = with_seed = dict(os.environb)
        until_one(worker, seen, lambda found: found == (True, "6640"))
        worker.variables = {name: value for name, value in with_seed.items() if name != b"PYTHONHASHSEED"}
        assert worker.values("without", seen) == [(False, None)]
    finally:
        worker.processes.close()


def test_a_package_that_was_installed_anew_is_imported_anew(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stem, and a spare from it, might have the version from before."""
    (before,) = worker.values("a", parent)
    monkeypatch.setattr(learned_imports, "stamp", lambda: (1, 2))

    (after,) = worker.values("b", parent)

    assert before != after


def test_everything_ends_with_the_worker(tmp_path: Path) -> None:
    """A worker that is killed leaves no process: a node may be running elsewhere already."""
    code = f"""
import sys, threading
sys.path[:0] = {sys.path!r}
from pathlib import Path
from tests.worker.test_task_processes import Worker
worker = Worker(Path({str(tmp_path)!r}))
def spins(path={str(tmp_path / "pid")!r}):
    import os
    with open(path, "w") as file:
        file.write(str(os.getpid()))
    while True:
        sum(range(10_000_000))
worker.values("a", spins)
"""
    worker = subprocess.Popen([sys.executable, "-c", code])
    try:
        until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
        task = psutil.Process(int((tmp_path / "pid").read_text()))
        stem = task.parent()
        assert stem is not None
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait()

    until(lambda: not task.is_running() and not stem.is_running())


def test_threads_may_finish_and_functions_of_the_exit_run(worker: Worker) -> None:
    """A dispatch ends as a script does."""
    path = worker.folder / "late"

    def leaves_a_thread(path: str = str(path)) -> None:
        import atexit
        import threading
        import time
        from pathlib import Path

        def write() -> None:
            time.sleep(0.5)
            Path(path).write_text("thread\n")

        def at_exit() -> None:
            Path(path).write_text(Path(path).read_text() + "exit\n")

        atexit.register(at_exit)
        threading.Thread(target=write).start()

    worker.values("a", leaves_a_thread)
    worker.processes.end_dispatches(["a"])

    until(lambda: path.exists() and path.read_text() == "thread\nexit\n")


@pytest.mark.parametrize("root", ["a", "a:b"])
def test_a_process_ends_whose_dispatch_ended_while_a_batch_was_running(worker: Worker, root: str) -> None:
    """On a busy machine the pool hears of the end first."""
    path = worker.folder / "go on"

    def waits(path: str = str(path)) -> int:
        import os
        import time
        from pathlib import Path

        Path(f"{path}.begun").touch()
        while not Path(path).exists():
            time.sleep(0.01)
        return os.getpid()

    found: list[int] = []
    batch = threading.Thread(target=lambda: found.extend(worker.values(root, waits)))
    batch.start()
    until(Path(f"{path}.begun").exists)
    worker.processes.end_dispatches(["a"])
    path.touch()
    batch.join()

    until(lambda: not psutil.pid_exists(found[0]), seconds=50)


LEAVE_THREADS = {
    "timer": "import threading\nthreading.Timer(0.3, done).start()",
    "without an object": "import _thread, time\nbegun = _thread.allocate_lock()\nbegun.acquire()\n"
    "def late():\n    begun.release()\n    time.sleep(0.3)\n    done()\n_thread.start_new_thread(late, ())\n"
    "begun.acquire()\nimport threading\nthreading.Thread(target=time.sleep, args=(1,)).start()",
    "pool that works": "import time, concurrent.futures as cf\n"
    "cf.ThreadPoolExecutor().submit(lambda: (time.sleep(0.3), done()))",
    "pool with more to do": "import time, concurrent.futures as cf\npool = cf.ThreadPoolExecutor(1)\n"
    "pool.submit(time.sleep, 0.3)\npool.submit(done)",
}
KEEP_NONE = {
    "ended": "import threading\nthread = threading.Thread(target=int)\nthread.start()\nthread.join()",
    "pool that idles": "import concurrent.futures as cf, sys\nsys.pool = cf.ThreadPoolExecutor(2)\n"
    "[*sys.pool.map(int, range(9))]\nimport time\ntime.sleep(0.3)",
    "progress bar": "from tqdm import tqdm\n[*tqdm(range(3))]",
}


@pytest.mark.parametrize("name", LEAVE_THREADS)
def test_no_node_runs_where_a_thread_may_write_that_another_left(worker: Worker, name: str) -> None:
    """The batch ends after the node that left it; the thread finishes where it is."""
    path = worker.folder / "late"

    def leaves(text: str = LEAVE_THREADS[name], path: str = str(path)) -> int:
        import os
        from pathlib import Path

        exec(text, {"done": lambda: Path(path).write_text(f"{os.getpid()}")})
        return os.getpid()

    first = worker.values("a", leaves, pid)
    (second,) = worker.values("a", pid)

    assert len(first) == 1
    assert first != [second]
    until(lambda: path.exists() and path.read_text() == f"{first[0]}")


@pytest.mark.parametrize("name", KEEP_NONE)
def test_threads_that_packages_keep_need_no_other_process(worker: Worker, name: str) -> None:
    """A process for each node would cost more than the node; and such threads do not keep the process from ending."""

    def uses(text: str = KEEP_NONE[name]) -> int:
        import os

        exec(text, {})
        return os.getpid()

    pids = [*worker.values("a", uses, pid, uses), *worker.values("a", pid)]
    worker.processes.end_dispatches(["a"])

    assert len(pids) == 4
    assert len({*pids}) == 1
    until(lambda: not psutil.pid_exists(pids[0]), seconds=50)


def test_few_processes_finish_threads_at_a_time(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand nodes that each leave a thread fill no memory with processes."""
    monkeypatch.setattr("covalab.worker.task_processes._ENDING_MOST", 2)

    def leaves() -> int:
        import os
        import threading

        threading.Timer(1.0, int).start()
        return os.getpid()

    pids = []
    for _ in range(8):
        pids += worker.values("a", leaves)
        assert sum(map(psutil.pid_exists, pids)) <= 2 + 1

    assert len({*pids}) == 8


def test_a_stem_that_dies_is_replaced(worker: Worker) -> None:
    """The next batch waits for the new one, no longer."""
    (before,) = worker.values("a", parent)
    os.kill(before, signal.SIGKILL)
    until(lambda: not psutil.pid_exists(before))
    time.sleep(0.2)  # what its worker needs to notice

    (after,) = worker.values("b", parent)

    assert after != before


def test_started_anew_it_is_the_same(tmp_path: Path) -> None:
    """Where a fork is not safe the process has an interpreter of its own."""
    worker = Worker(tmp_path, is_new=True)

    def arguments() -> list[str]:
        from pathlib import Path

        return Path("/proc/self/cmdline").read_text().split("\0")

    try:
        (found,) = worker.values("a", arguments)
        assert "covalab.worker.task_process" in found
        assert any(isinstance(message, TaskStarted) for message in worker.messages(worker.job("b", pid)))
    finally:
        worker.processes.close()


def test_forks_draw_different_numbers_from_generators_that_the_stem_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a seed, processes of two dispatches are independent, whatever was imported before the fork."""
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")  # as Dask's nannies do; with threads it is not imported beforehand
    worker = Worker(tmp_path)
    worker.processes.learn(["numpy", "numpy.random", "random"])

    def draws() -> tuple[bool, float, float]:
        import random
        import sys

        is_there = "numpy" in sys.modules
        import numpy as np

        return is_there, random.random(), float(np.random.rand())  # noqa: NPY002 - the global generator is what is tested

    try:
        until_one(worker, draws, lambda drawn: drawn[0])
        drawn = [worker.values(f"then{number}", draws)[0] for number in range(4)]
    finally:
        worker.processes.close()

    assert all(is_there for is_there, _, _ in drawn)
    assert len({number for _, number, _ in drawn}) == len({number for _, _, number in drawn}) == 4


def test_a_stem_that_is_stopped_is_replaced(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task may stop its parent: the batches after it wait for a moment, not for ever."""
    monkeypatch.setattr("covalab.worker.stem_process._ANSWER_SECONDS", 1.0)

    def stops_its_parent() -> int:
        import os
        import signal

        os.kill(os.getppid(), signal.SIGSTOP)
        return os.getppid()

    (before,) = worker.values("a", stops_its_parent)
    # As the dispatcher does, what was lost with the stem is sent again: on a busy machine a batch may still have run.
    after = {until(lambda number=number: worker.values(f"b{number}", parent))[0] for number in range(3)}  # type: ignore[misc]

    assert len(after - {before}) == 1
    until(lambda: not psutil.pid_exists(before))
