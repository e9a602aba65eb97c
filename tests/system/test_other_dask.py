"""A Dask that is not ours: a scheduler and workers started by hand, or a cluster class from the configuration."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import pytest
from tests.system.processes import HAND_MADE_HOME, family
from tests.system.tasks import adding, expected_of_fifty, fifty, long, runs
from tests.waiting import until

import covalab as ct
from covalab.client import Client, connect
from covalab.core.errors import ConfigError
from covalab.sdk.dispatching.api import start

pytestmark = pytest.mark.sampled(2, of="file")

ROOT = Path(__file__).parents[2]


class HandMade:
    """`dask scheduler` and two `dask worker`s, as somebody would start them in another folder, under another home."""

    def __init__(self, folder: Path, *options: str, n_workers: int = 2) -> None:
        self.folder = folder
        self.options = options or ("--nthreads=2",)
        self.n_workers = n_workers
        (folder / "home").mkdir(parents=True)
        self.processes: list[subprocess.Popen[bytes]] = []
        self.port = 0
        self.start()

    def start(self) -> None:
        """Start scheduler and workers; a second time on the same port."""
        port_file = self.folder / f"scheduler-{time.monotonic_ns()}.json"
        self._run(
            "scheduler",
            "--host=127.0.0.1",
            f"--port={self.port}",
            "--no-dashboard",
            "--dashboard-address=127.0.0.1:0",
            f"--scheduler-file={port_file}",
        )
        until(port_file.exists)
        time.sleep(0.2)
        self.port = int(port_file.read_text().split('"address": "tcp://127.0.0.1:')[1].split('"')[0])
        for _ in range(self.n_workers):
            self._run("worker", self.address, *self.options, "--host=127.0.0.1", "--dashboard-address=127.0.0.1:0")

    @property
    def address(self) -> str:
        """Return where the scheduler listens."""
        return f"tcp://127.0.0.1:{self.port}"

    def add_worker(self, *before: str, path: Path | None = None, more: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        """Start a worker: by a command that starts it, with a folder that its Python looks for modules in first."""
        options = ("--host=127.0.0.1", "--dashboard-address=127.0.0.1:0", "--nthreads=1", *more)
        self._run("worker", self.address, *options, before=before, path=path)
        return self.processes[-1]

    def _run(self, *arguments: str, before: Sequence[str] = (), path: Path | None = None) -> None:
        environment = {
            key: value for key, value in os.environ.items() if not key.startswith(("COVALAB_", "DASK_", "PYTEST"))
        }
        environment |= {"HOME": str(self.folder / "home")}
        if path is not None:
            environment["PYTHONPATH"] = str(path)
        with (self.folder / "dask.log").open("ab") as log:
            process = subprocess.Popen(
                [*before, sys.executable, "-m", "distributed.cli.dask_" + arguments[0], *arguments[1:]],
                cwd=self.folder,
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.processes.append(process)

    def kill(self) -> None:
        """End everything at once."""
        for process in self.processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.processes.clear()


def hiding(folder: Path) -> list[str]:
    """Return the beginning of a command that does not see what is in a folder."""
    return [
        "unshare",
        "-m" if os.getuid() == 0 else "-rm",
        "sh",
        "-c",
        f'mount -t tmpfs none {folder} && exec "$@"',
        "sh",
    ]


@pytest.fixture
def by_hand(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HandMade]:
    """Start a Dask by hand, with the options of workers that a test names, and name it in the configuration."""
    dask = HandMade(tmp_path / "dask", *getattr(request, "param", "").split())
    config = tmp_path / "covalab.toml"
    config.write_text(f'[dask]\nscheduler_address = "{dask.address}"\n')
    monkeypatch.setenv("COVALAB_CONFIG", str(config))
    monkeypatch.delenv("COVALAB_WORKERS")
    yield dask
    dask.kill()


@pytest.fixture
def joined(by_hand: HandMade, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """Return a client of a dispatcher whose pool joins that Dask."""
    monkeypatch.setenv("COVALAB_DATA_DIR", str(tmp_path / "data"))
    client = connect()
    yield client
    client.stop()


def test_work_runs_on_a_scheduler_started_by_hand(joined: Client, tmp_path: Path) -> None:
    """Fifty nodes complete there, what they print comes back, and the logs do not have it."""
    witness = tmp_path / "witness"
    result = ct.dispatch_sync(fifty)(str(witness))

    assert result.result == expected_of_fifty()
    assert set(runs(witness).values()) == {1}

    @ct.electron
    def speaking() -> int:
        print("hello")
        return os.getppid()

    spoken = ct.dispatch_sync(ct.lattice(speaking))()
    assert spoken.get_node_result(0)["stdout"] == "hello\n"
    assert "hello" not in (tmp_path / "dask" / "dask.log").read_text()


def test_cancel_stops_a_task_on_somebody_elses_worker(joined: Client, tmp_path: Path) -> None:
    """The worker's process ends and is replaced by its nanny; the next dispatch runs."""
    pid_file = tmp_path / "pid"
    dispatch = ct.dispatch(long)(str(pid_file))
    until(lambda: pid_file.exists() and pid_file.read_text())
    pid = int(pid_file.read_text())
    ct.cancel(dispatch)

    assert ct.get_result(dispatch, wait=True, timeout=60).status == ct.status.CANCELLED
    until(lambda: not Path(f"/proc/{pid}").exists())
    assert ct.dispatch_sync(ct.lattice(adding))(1).result == 2


def test_what_a_killed_pool_left_running_is_stopped(joined: Client, tmp_path: Path) -> None:
    """Nobody's task keeps somebody else's worker: both are killed at once, and the task does not outlive them."""
    pid_file = tmp_path / "pid"
    dispatch = ct.dispatch(long)(str(pid_file))
    until(lambda: pid_file.exists() and pid_file.read_text())
    pid = int(pid_file.read_text())
    status = joined.status()
    for process in (status.pid, status.pools[0].pid):
        os.kill(process, signal.SIGKILL)

    until(lambda: not Path(f"/proc/{pid}").exists())
    until(lambda: joined.summary(dispatch).counts.running)  # another dispatcher runs it again
    ct.cancel(dispatch)


def test_two_data_folders_share_a_scheduler(joined: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each gets its own outcomes and nobody else's, although both count their steps from one."""

    @ct.electron
    def slow(x: int) -> int:
        time.sleep(0.02)
        return x

    @ct.lattice
    def many(first: int) -> object:
        return [slow(first + n) for n in range(100)]

    folders = {0: joined.data_dir, 1_000: tmp_path / "other"}

    def of(first: int) -> Client:
        monkeypatch.setenv("COVALAB_DATA_DIR", str(folders[first]))
        return connect()

    try:
        for first in folders:
            of(first)
            assert ct.dispatch_sync(ct.lattice(adding))(first).result == first + 1
        sent = {}
        for first in folders:
            of(first)
            sent[first] = ct.dispatch(many)(first)
        for first, run in sent.items():
            of(first)
            assert ct.get_result(run, wait=True, timeout=120).result == [first + n for n in range(100)]
    finally:
        of(1_000).stop()


def test_losing_that_scheduler_in_the_middle_loses_nothing(joined: Client, by_hand: HandMade, tmp_path: Path) -> None:
    """Scheduler and workers are killed and started again by hand: the dispatch ends well."""
    witness = tmp_path / "witness"
    dispatch = ct.dispatch(fifty)(str(witness))
    until(lambda: joined.summary(dispatch).counts.completed >= 8)
    by_hand.kill()
    time.sleep(1)
    recorded = joined.summary(dispatch).counts.completed
    by_hand.start()
    result = ct.get_result(dispatch, wait=True, timeout=120)

    assert result.result == expected_of_fifty()
    again = sum(count - 1 for count in runs(witness).values())
    assert again <= 49 - recorded


def test_a_cluster_class_with_its_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any class that speaks Dask's cluster interface can be named; it is scaled to `num_workers`."""
    config = tmp_path / "covalab.toml"
    config.write_text(
        '[dask]\ncluster_class = "distributed.LocalCluster"\nnum_workers = 3\n'
        "[dask.cluster_kwargs]\nn_workers = 1\nthreads_per_worker = 1\n"
        'dashboard_address = "127.0.0.1:0"\nworker_dashboard_address = "127.0.0.1:0"\nhost = "127.0.0.1"\n'
    )
    monkeypatch.setenv("COVALAB_CONFIG", str(config))
    monkeypatch.delenv("COVALAB_WORKERS")
    monkeypatch.setenv("COVALAB_DATA_DIR", str(tmp_path / "data"))
    client = connect()
    try:
        assert ct.dispatch_sync(ct.lattice(adding))(1).result == 2
        until(lambda: client.status().pools[0].workers == 3)
    finally:
        client.stop()


WRONG = [
    ("[dask]\nscheduler_adress = 'x'\n", "scheduler_adress"),
    ("[dask\n", "covalab.toml"),
    ("[dask]\nnum_workers = 'many'\n", "dask.num_workers"),
    ("[dask]\nscheduler_address = 'tcp://x:1'\ncluster_class = 'a.B'\n", "exclude each other"),
    ("[dask]\ncluster_class = 'no_such_module.Cluster'\n", "no_such_module"),
    ("[dask]\ncluster_class = 'distributed.LocalCluster'\ncluster_kwargs = {n_workers = 'x'}\n", "LocalCluster"),
]


def test_a_wrong_configuration_is_named(own: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error has the file and the key, at once or, for what only the pool can find, as the dispatch's.

    Correcting the file is enough to go on, without a restart.
    """
    config = tmp_path / "covalab.toml"
    monkeypatch.setenv("COVALAB_CONFIG", str(config))
    own.stop()  # the next one sees the variable
    for text, message in WRONG:
        config.write_text(text)
        try:
            result = ct.dispatch_sync(ct.lattice(adding))(1)
        except ConfigError as at_once:
            error = str(at_once)
        else:
            assert result.status == ct.status.FAILED
            error = result.get_node_result(0)["error"]
        assert message in error
        assert str(config) in error
    config.write_text("")
    assert ct.dispatch_sync(ct.lattice(adding))(1).result == 2


SUITES = (
    *("results", "requests", "bad_input", "tasks", "executions", "sublattices"),
    *("redispatch", "programs", "postprocess", "turns", "cancel"),
)


def test_a_pool_that_ends_because_it_was_asked_is_not_replaced(joined: Client, tmp_path: Path) -> None:
    """A stop is no loss: another pool would come up for a moment, and begin the log of the first anew."""
    assert ct.dispatch_sync(ct.lattice(ct.electron(os.getppid)))().result > 1
    joined.stop()

    log = (tmp_path / "data" / "logs" / "dispatcher.log").read_text()
    assert "is lost" not in log, log


def check_pass(by_hand: HandMade, folder: Path, names: str, *options: str, **variables: str) -> None:
    """Run suites of this folder on a scheduler started by hand; all of their tests must pass."""
    suites = [str(ROOT / "tests" / "system" / f"test_{name}.py") for name in names.split()]
    environment = os.environ | {
        "COVALAB_DASK_SCHEDULER_ADDRESS": by_hand.address,
        HAND_MADE_HOME: str(by_hand.folder / "home"),
        **variables,
    }
    command = ["pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={folder / 'inner'}", *options, *suites]
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout[-5000:]


def test_a_worker_elsewhere_has_what_the_notebook_set_and_its_local_modules(
    joined: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It keeps its own home and path, and needs none of the notebook's files; what was set is gone with its batch."""
    del joined
    (tmp_path / "nb").mkdir()
    (tmp_path / "nb" / "far_helper.py").write_text("from far_other import N\n")
    (tmp_path / "nb" / "far_other.py").write_text("N = 5\n")
    monkeypatch.syspath_prepend(str(tmp_path / "nb"))
    monkeypatch.setenv("APP_KEY", "1")
    monkeypatch.delenv("DASK_INTERNAL_INHERIT_CONFIG", raising=False)

    @ct.electron
    def look() -> list[str | None]:
        import far_helper  # type: ignore[import-not-found]

        return [os.environ.get("APP_KEY"), os.environ.get("HOME"), str(far_helper.N)]

    run = ct.dispatch(ct.lattice(look), disable_run=True)()
    (tmp_path / "nb").rename(tmp_path / "hidden")
    start(run)
    monkeypatch.delenv("APP_KEY")

    @ct.electron
    def again() -> str | None:
        return os.environ.get("APP_KEY")

    home = str(tmp_path / "dask" / "home")
    assert ct.get_result(run, wait=True).result == ["1", home, "5"], ct.get_result(run).error
    assert ct.dispatch_sync(ct.lattice(lambda: [again() for _ in range(4)]))().result == [None] * 4


@pytest.mark.sampled(1)
@pytest.mark.parametrize("name", SUITES)
def test_the_dispatch_tests_pass_on_a_scheduler_started_by_hand(name: str, by_hand: HandMade, tmp_path: Path) -> None:
    """What is promised of results, requests, bad input, tasks, executions and sublattices holds there as well."""
    check_pass(by_hand, tmp_path, name)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("name", SUITES)
def test_the_dispatch_tests_pass_without_a_shared_folder(name: str, tmp_path: Path) -> None:
    """The same holds on workers that do not see the data folder."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    dask = HandMade(tmp_path / "dask", n_workers=0)
    try:
        for _ in range(2):
            dask.add_worker(*hiding(hidden))
        check_pass(dask, tmp_path, name, COVALAB_TESTS_HIDDEN=str(hidden))
        logs = [path.read_text() for path in hidden.rglob("pool*.log*")]
        # The dispatchers of that suite have folders of their own, and leave no log there.
        assert name == "turns" or any("does not see the data folder" in text for text in logs)
    finally:
        dask.kill()


WITH_NANNY = ["--nanny --nthreads=1", "--nanny --nthreads=4"]
WITHOUT_NANNY = ["--no-nanny --nthreads=1", "--no-nanny --nthreads=4"]
IN_EACH_RUN = [WITH_NANNY[1], WITHOUT_NANNY[0]]
CLEAN = (
    "(another_dispatch or next_node) and (variable or recursion or umask or handler or builtin or seed)"
    " or values_that_were_sent and (number or closure) or signals and (main or alarm)"
)
POISON = (
    "only_the_poison and (segfault or exiting or killing_the_group or killing_the_parent or closing or system_exit"
    " or fork_bomb_that_grows or removing or leaving_a_daemon)"
)
NOT_THERE = "not memory_bomb"  # how much memory somebody else's worker may take is not ours to say


@pytest.mark.sampled(1)
@pytest.mark.parametrize("by_hand", IN_EACH_RUN, indirect=True)
def test_workers_that_are_killed_leave_nothing_behind(
    joined: Client, by_hand: HandMade, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not the task, not what runs it, and not what the task started."""
    monkeypatch.setenv(HAND_MADE_HOME, str(by_hand.folder / "home"))

    @ct.electron
    def with_a_daemon(pid_file: str) -> None:
        subprocess.Popen(["sleep", "300"], start_new_session=True)
        Path(pid_file).write_text(str(os.getpid()))
        time.sleep(300)

    pid_file = tmp_path / "pid"
    dispatch = ct.dispatch(ct.lattice(with_a_daemon))(str(pid_file))
    until(lambda: pid_file.exists() and pid_file.read_text())
    assert int(pid_file.read_text()) in family(tmp_path / "nobody's")
    by_hand.kill()

    until(lambda: not family(tmp_path / "nobody's"))
    ct.cancel(dispatch)


@pytest.mark.nightly
@pytest.mark.sampled(1)
@pytest.mark.timeout(600)
@pytest.mark.parametrize("by_hand", IN_EACH_RUN, indirect=True)
@pytest.mark.parametrize(("name", "which"), [("clean_process", CLEAN), ("poison", POISON)], ids=["clean", "poison"])
def test_processes_are_clean_on_workers_started_by_hand(
    by_hand: HandMade, name: str, which: str, tmp_path: Path
) -> None:
    """With a nanny that starts another worker, and without: nothing is left behind, and only the poison fails."""
    check_pass(by_hand, tmp_path, name, "-k", which)


@pytest.mark.nightly(4)
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("by_hand", [*WITH_NANNY, *WITHOUT_NANNY], indirect=True)
@pytest.mark.parametrize("name", ["clean_process", "poison", "cancel_frees_cpu", "nested_waits"])
def test_every_process_is_clean_on_workers_started_by_hand(by_hand: HandMade, name: str, tmp_path: Path) -> None:
    """All kinds, on every kind of worker."""
    check_pass(by_hand, tmp_path, name, "-k", NOT_THERE)


OTHER_PYTHON = "import platform\nplatform.python_implementation = lambda: 'OtherPython'\n"
"""A stub of another Python: no second one can be counted on where these tests run."""
NO_COVALAB = """
import sys
class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "covalab":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Nothing())
"""


def test_workers_that_do_not_fit_get_no_step_and_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Without a worker that fits it is said that nothing runs, and why; the others are left alone."""
    dask = HandMade(tmp_path / "dask", n_workers=0)
    data = tmp_path / "data"
    config = tmp_path / "covalab.toml"
    text = f'[dask]\nscheduler_address = "{dask.address}"\n[data]\ncache_dir = "/proc/nowhere"\n'
    config.write_text(text)
    monkeypatch.setenv("COVALAB_CONFIG", str(config))
    monkeypatch.delenv("COVALAB_WORKERS")
    monkeypatch.setenv("COVALAB_DATA_DIR", str(data))
    client = connect()
    try:
        dispatch = ct.dispatch(ct.lattice(adding))(1)
        until(lambda: "there is none since" in client.summary(dispatch).notice)
        result = ct.get_result(dispatch, wait=True, timeout=1)
        assert result.status == ct.status.NEW_OBJECT
        assert f"waits for a worker of {dask.address}: there is none since" in capfd.readouterr().err

        for name, text in {"version": OTHER_PYTHON, "nothing": NO_COVALAB}.items():
            (tmp_path / name).mkdir()
            (tmp_path / name / "sitecustomize.py").write_text(text)
        unfit = [
            dask.add_worker(path=tmp_path / "version"),
            dask.add_worker(path=tmp_path / "nothing"),
            dask.add_worker(*hiding(data)),
        ]
        until(lambda: len(client.status().pools[0].unfit) == len(unfit))
        reasons = sorted(client.status().pools[0].unfit.values())
        assert [reason[:40] for reason in reasons] == [
            "covalab cannot be imported there (Module",
            f"it has Python {sys.version_info[0]}.{sys.version_info[1]} (otherpython), and wh",
            "it has no place for values that travel to it: [Err"[:40],
        ]
        said = subprocess.run(["covalab", "status"], capture_output=True, text=True, check=True).stdout
        assert all(reason[:30] in said for reason in reasons)
        until(lambda: client.summary(dispatch).notice.count("tcp://127.0.0.1") == 4)
        assert client.summary(dispatch).status == "pending"

        dask.add_worker()
        result = ct.get_result(dispatch, wait=True, timeout=120)
        assert (result.status, result.result) == (ct.status.COMPLETED, 2)
        assert client.summary(dispatch).notice == ""
        assert client.status().pools[0].workers == 1
        assert [process.poll() for process in unfit] == [None] * len(unfit)
        assert len(client.status().pools[0].unfit) == len(unfit)
    finally:
        client.stop()
        dask.kill()
