"""Where tasks run, by their executors: other schedulers, other environments, and the executor host."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.system import test_other_dask
from tests.system.tasks import adding
from tests.system.test_other_dask import HandMade
from tests.waiting import until

import covalab as ct
from covalab.client import Client
from covalab.core.model import DispatchId

pytestmark = pytest.mark.sampled(4, of="file")

by_hand = test_other_dask.by_hand  # a fixture


class Here(ct.executor.BaseExecutor):
    """Runs in the host."""

    def run(self, function: Any, args: Any, kwargs: Any, task_metadata: Any) -> Any:
        """Call."""
        return function(*args, **kwargs)


@ct.electron
def whose() -> tuple[str, int]:
    """Say whose Python this is, and which process."""
    return sys.prefix, os.getppid()


def host_of(client: Client) -> Any:
    """Return the status of the executor host."""
    return next(pool for pool in client.status().pools if pool.kind == "host")


def ancestors() -> list[int]:
    """Return the processes above a task."""
    return [process.pid for process in psutil.Process().parents()]


def test_a_scheduler_by_address(by_hand: HandMade, own: Client) -> None:
    """Some electrons go there, the others stay in the pool; both are places of one dispatch."""
    os.environ.pop("COVALAB_CONFIG")  # else the pool would join that scheduler as well
    own.stop()
    here = ct.electron(ancestors)
    there = ct.electron(ancestors, executor=ct.executor.DaskExecutor(scheduler_address=by_hand.address))

    @ct.lattice
    def both() -> Any:
        return here(), there(), adding(1)

    result = ct.dispatch_sync(both)()
    near, far, two = result.result

    assert two == 2
    pools = own.status().pools
    assert [pool.where for pool in pools if pool.where] == [by_hand.address]
    of_the_other = {process.pid for process in by_hand.processes}
    assert of_the_other & {*far}
    assert not of_the_other & {*near}


def test_local_is_this_machine_also_where_a_cluster_is_configured(by_hand: HandMade, own: Client) -> None:
    """By name, as an instance and from the lattice; all others go to the cluster, and each has a pool."""
    by_name = ct.electron(ancestors, executor="local")
    instance = ct.electron(ancestors, executor=ct.executor.LocalExecutor(create_unique_workdir=False))
    explicit = ct.electron(ancestors, executor="dask")
    default = ct.electron(ancestors)
    below = ct.electron(ct.lattice(default, executor="local"))

    @ct.lattice
    def all_of_them() -> Any:
        return by_name(), instance(), below(), explicit(), default()

    *near, far, as_configured = ct.dispatch_sync(all_of_them)().result

    of_the_other = {process.pid for process in by_hand.processes}
    assert [bool(of_the_other & {*found}) for found in (*near, far, as_configured)] == [False] * 3 + [True] * 2
    assert sorted(pool.where for pool in own.status().pools) == sorted([by_hand.address, "this machine"])
    assert own.status().pid in {*near[0]} & {*near[1]} & {*near[2]}


def test_a_scheduler_that_does_not_answer_is_no_hang_for_others(live: Client) -> None:
    """What runs in the pool ends; what waits there can be cancelled."""
    nowhere = ct.electron(adding, executor=ct.executor.DaskExecutor(scheduler_address="tcp://127.0.0.1:9"))

    @ct.lattice
    def both() -> Any:
        return adding(1), nowhere(2)

    dispatch = ct.dispatch(both)()
    until(lambda: live.summary(dispatch).counts.completed == 1)
    ct.cancel(dispatch)
    assert ct.get_result(dispatch, wait=True, timeout=60).status == ct.status.CANCELLED


def test_an_environment_by_its_folder(live: Client, tmp_path: Path) -> None:
    """`conda_env` names a folder; its Python runs the task. One that sees the packages of this one will do."""
    prefix = tmp_path / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(prefix)], check=True)
    site = subprocess.run(
        [str(prefix / "bin" / "python"), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    paths = [path for path in sys.path if path.endswith("site-packages")]
    paths.append(str(Path(ct.__file__).parents[1]))
    Path(site, "others.pth").write_text("\n".join(paths))
    there = ct.electron(whose, executor=ct.executor.LocalExecutor(conda_env=str(prefix)))

    @ct.lattice
    def both() -> Any:
        return whose(), there()

    near, far = ct.dispatch_sync(both)().result
    assert near[0] == sys.prefix
    assert far[0] == str(prefix)


def test_a_missing_environment_is_named(live: Client) -> None:
    """By the name it was given; with `current_env_on_conda_fail` the task runs at home."""
    missing = ct.electron(adding, executor=ct.executor.DaskExecutor(conda_env="no-such-environment"))
    result = ct.dispatch_sync(ct.lattice(missing))(1)
    assert result.status == ct.status.FAILED
    assert "there is no conda environment 'no-such-environment'" in result.get_node_result(0)["error"]

    careless = ct.executor.DaskExecutor(conda_env="no-such-environment", current_env_on_conda_fail=True)
    assert ct.dispatch_sync(ct.lattice(ct.electron(adding, executor=careless)))(1).result == 2


def test_an_environment_without_covalab_says_so(live: Client, tmp_path: Path) -> None:
    """And what to do about it."""
    prefix = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(prefix)], check=True)
    bare = ct.electron(adding, executor=ct.executor.LocalExecutor(conda_env=str(prefix)))
    result = ct.dispatch_sync(ct.lattice(bare))(1)

    assert "does not have covalab; install it there" in result.get_node_result(0)["error"]


def test_a_task_may_write_logs_of_its_own(live: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With names that are not the default ones."""
    monkeypatch.chdir(tmp_path)

    def speak() -> None:
        print("hello")

    executor = ct.executor.LocalExecutor(log_stdout="mine.log", log_stderr=str(tmp_path / "err.log"))
    result = ct.dispatch_sync(ct.lattice(ct.electron(speak, executor=executor)))()
    assert (tmp_path / "results" / result.dispatch_id / "mine.log").read_text() == "hello\n"
    assert (tmp_path / "err.log").read_text() == ""


def test_what_a_running_task_prints_can_be_read(live: Client) -> None:
    """Also when its executor runs in the host."""

    def speak(seconds: float) -> int:
        print("still here")
        time.sleep(seconds)
        return 1

    dispatch = ct.dispatch(ct.lattice(ct.electron(speak, executor=Here())))(3.0)
    until(lambda: "still here" in live.node(dispatch, 0).stdout)
    until(lambda: live.summary(dispatch).status == "running")  # recorded with the next commit, 50 ms later at most
    result = ct.get_result(dispatch, wait=True)
    assert result.get_node_result(0)["stdout"] == "still here\n"


def test_two_tasks_at_once_print_to_their_own(live: Client) -> None:
    """Though they share a process."""

    def speak(name: str) -> str:
        for _ in range(20):
            print(name)
            time.sleep(0.01)
        return name

    speaking = ct.electron(speak, executor=Here())
    names = [f"task {n}" for n in range(8)]
    result = ct.dispatch_sync(ct.lattice(lambda: [speaking(name) for name in names]))()

    assert result.result == names
    printed = [result.get_node_result(2 * n)["stdout"] for n in range(8)]
    assert printed == [f"{name}\n" * 20 for name in names]


def test_large_values_pass_through_a_host(live: Client) -> None:
    """As files, in both directions."""

    def twice(data: bytes) -> bytes:
        return data * 2

    inner = ct.electron(twice, executor=Here())

    @ct.lattice
    def flow(data: bytes) -> bytes:
        return inner(inner(data))

    result = ct.dispatch_sync(flow)(b"x" * 300_000)
    assert result.result == b"x" * 1_200_000


def test_a_host_that_dies_is_replaced(own: Client, tmp_path: Path) -> None:
    """What ran there runs again, and ends."""

    def slow(folder: str) -> int:
        runs = len(list(Path(folder).iterdir()))
        Path(folder, f"run-{runs}").touch()
        time.sleep(1.0)
        return runs

    folder = tmp_path / "runs"
    folder.mkdir()
    dispatch = ct.dispatch(ct.lattice(ct.electron(slow, executor=Here())))(str(folder))
    until(lambda: list(folder.iterdir()))
    os.kill(host_of(own).pid, signal.SIGKILL)

    assert ct.get_result(dispatch, wait=True, timeout=120).result == 1


def test_an_executor_that_does_not_listen_is_left_behind(own: Client) -> None:
    """The dispatch is cancelled at once, and the host that has such a thread is replaced when it is idle."""

    class Deaf(ct.executor.BaseExecutor):
        def run(self, function: Any, args: Any, kwargs: Any, task_metadata: Any) -> Any:
            while True:
                try:
                    while True:
                        pass
                except BaseException:  # noqa: BLE001 - that is its point
                    pass

    deaf: Any = ct.electron(adding, executor=Deaf())
    dispatch = ct.dispatch(ct.lattice(deaf))(1)
    until(lambda: own.summary(dispatch).counts.running == 1)
    before = host_of(own).pid
    ct.cancel(dispatch)
    assert ct.get_result(dispatch, wait=True, timeout=60).status == ct.status.CANCELLED
    until(lambda: not Path(f"/proc/{before}").exists())
    assert ct.dispatch_sync(ct.lattice(ct.electron(adding, executor=Here())))(1).result == 2


def test_an_instance_that_cannot_travel_is_named(live: Client) -> None:
    """When the graph is built, by its electron."""

    class Stuck(Here):
        def __init__(self) -> None:
            super().__init__()
            self.lock = threading.Lock()

    with pytest.raises(ct.SerializationError, match="the executor of electron 'adding'"):
        ct.dispatch(ct.lattice(ct.electron(adding, executor=Stuck())))(1)


def test_parts_of_a_value_do_not_go_where_it_was_made(live: Client) -> None:
    """An item of what an executor's electron returned is taken in the pool; an electron of the same lattice is not."""

    @ct.electron(executor=Here())
    def pair() -> tuple[int, int]:
        return 1, os.getpid()

    @ct.lattice
    def flow() -> Any:
        one, pid = pair()
        return one, pid

    result = ct.dispatch_sync(flow)()

    assert result.result[0] == 1
    graph = live.graph(DispatchId(result.dispatch_id))
    by_name = {node.name: graph.settings[node.settings].executor for node in graph.nodes if node.settings >= 0}
    assert by_name[":pair()[0]"] == "dask"
    assert by_name["pair"] != "dask"
