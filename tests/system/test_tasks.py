"""OmniQ's "Inspect Task Results and Errors", nearly word for word, and the opposites of what its code really does."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import pickle
import signal
import threading
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from tests.system.tasks import runs

import covalab as ct
from covalab.client import Client, connect
from covalab.core.errors import GraphError
from covalab.sdk.timestamps import Timestamp

pytestmark = pytest.mark.sampled(8, of="file")

TaskStatus = ct.TaskStatus


def add(x: int, y: int = 1) -> int:
    """Add."""
    return x + y


class OwnTroubleError(ValueError):
    """An exception with more to it than a text."""

    def __init__(self, code: int) -> None:
        super().__init__(f"code {code}")
        self.code = code

    def __reduce__(self) -> tuple[Any, ...]:
        return OwnTroubleError, (self.code,)


@ct.electron(retry_delay=0)
def flaky(witness: str, n_runs: int) -> str:
    """Fail until the n-th run."""
    with open(witness, "a") as file:  # noqa: PTH123
        file.write("run\n")
    if len(Path(witness).read_text().split()) < n_runs:
        message = "Connection timeout"
        raise ConnectionError(message)
    return "Task result value"


def failing() -> Any:
    """Fail."""
    raise OwnTroubleError(7)


def result_of(task: str) -> Any:
    """Wait for a task to end."""
    found = ct.get_task_result(task, wait=True, timeout=120)
    assert found is not None
    return found


# -- the seed's snippets ---------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("live")
def test_a_result_is_there_when_the_task_has_ended_and_none_before(tmp_path: Path) -> None:
    """Without waiting None, with a timeout None when it is over, and an exception for who asks for one."""
    gate = tmp_path / "gate"

    def my_task(data: int, gate: str) -> int:
        while not Path(gate).exists():
            time.sleep(0.01)
        return data

    task_id = ct.enqueue(my_task, 3, str(gate))

    assert ct.get_task_result(task_id) is None
    began = time.monotonic()
    assert ct.get_task_result(task_id, wait=True, timeout=0.3) is None
    assert time.monotonic() - began < 5
    with pytest.raises(TimeoutError, match="has not ended"):
        ct.get_task_result(task_id, wait=True, timeout=0.1, raise_on_timeout=True)
    gate.touch()
    result = ct.get_task_result(task_id, wait=True, timeout=60)
    assert result is not None
    assert result["result"] == result.result == 3


def test_who_asks_for_what_there_is_not_gets_none(live: Client) -> None:
    """An unknown id is no error, also when waiting for ever; what is no id is one."""
    assert ct.get_task_result("nobody:0", wait=True) is None
    assert ct.get_task("nobody") is None
    task = ct.enqueue(add, 1)
    assert ct.get_task(f"{task.partition(':')[0]}:77") is None
    with pytest.raises(TypeError, match="task id"):
        ct.get_task(3)  # type: ignore[arg-type]
    assert result_of(task.partition(":")[0]).result == 2
    assert live.summary(task.partition(":")[0]).name == "add"


@pytest.mark.usefixtures("live")
def test_the_three_shapes_are_those_of_the_document(tmp_path: Path) -> None:
    """Keys in order, ISO-8601 with Z, JSON; by attribute datetimes and a `TaskError`."""
    witness = tmp_path / "witness"
    done = result_of(ct.enqueue(flaky, str(tmp_path / "other"), 1))
    failed = result_of(ct.enqueue(flaky, str(witness), 99, retries=2))
    running = ct.enqueue(time.sleep, 600)
    while ct.get_task(running)["status"] != "RUNNING":  # type: ignore[index]
        time.sleep(0.01)
    at_work = ct.get_task(running)
    ct.cancel(running.partition(":")[0])
    assert at_work is not None

    assert list(done) == ["id", "status", "result", "attempts", "enqueued_at", "completed_at", "error"]
    assert (done["status"], done["result"], done["attempts"]) == ("COMPLETED", "Task result value", 1)
    assert done["error"] is None
    assert list(failed) == ["id", "status", "result", "attempts", "enqueued_at", "failed_at", "error"]
    assert list(failed["error"]) == ["error_type", "message", "traceback", "retry_count", "timestamp"]
    assert (failed["status"], failed["result"], failed["attempts"]) == ("FAILED", None, 3)
    assert failed["error"]["error_type"] == "runtime"
    assert failed["error"]["message"] == "Connection timeout"
    assert failed["error"]["retry_count"] == 2
    assert failed["error"]["traceback"].startswith("Traceback")
    assert failed["error"]["timestamp"] == failed["failed_at"]
    assert list(at_work) == ["id", "status", "result", "attempts", "enqueued_at", "started_at", "error"]
    assert (at_work["status"], at_work["attempts"]) == ("RUNNING", 1)
    for record in (done, failed, at_work):
        assert json.loads(json.dumps(record)) == record
        assert record["enqueued_at"].endswith("Z")
        assert record.enqueued_at.utcoffset() == timedelta(0)
    assert done.completed_at >= done.started_at >= done.enqueued_at
    assert done.failed_at is None
    assert pickle.loads(pickle.dumps(done)) == done


@pytest.mark.usefixtures("live")
def test_metadata_and_errors_are_read_as_in_the_document() -> None:
    """Both branches of the type check, the error's items, and the error as an object."""
    result: Any = asyncio.run(ct.async_get_task_result(asyncio.run(ct.async_enqueue(failing, retries=0)), wait=True))

    assert hasattr(result, "status")
    assert (result.get("id"), result.get("attempts", 0)) == (result.id, result.attempts)
    assert f"{result.get('status')}" == "FAILED"
    error = result["error"] if isinstance(result, dict) else result.error
    assert error.get("error_type") == "runtime"
    assert error.get("retry_count", 0) == 0
    error = result.error
    message = error.message if hasattr(error, "message") else str(error)
    assert message == "code 7"
    assert isinstance(error, ct.TaskError)
    assert error.can_retry()
    assert ct.TaskError.from_dict(error.to_dict()) == error
    assert error.exception_class.endswith("OwnTroubleError")
    assert isinstance(error.exception, ValueError)
    assert error.exception.code == 7  # type: ignore[attr-defined]


def test_statuses_have_both_names() -> None:
    """`SUCCESS` is `COMPLETED`, and words of both systems are understood."""
    assert TaskStatus("success") is TaskStatus.COMPLETED
    assert TaskStatus("SUCCESS") == TaskStatus("completed") == "COMPLETED"
    assert TaskStatus("RETRYING") == TaskStatus("NEW_OBJECT") == "PENDING"
    assert TaskStatus(str(ct.status.POSTPROCESSING_FAILED)) == "FAILED"
    with pytest.raises(ValueError, match="LOST"):
        TaskStatus("LOST")


@pytest.mark.usefixtures("own")
def test_the_dashboard_counts_sixty_tasks(tmp_path: Path) -> None:
    """Not only the twenty-five that a list shows: every count, the errors by type, high retries, recent failures."""

    @ct.lattice
    def forty() -> list[int]:
        return [ct.electron(add)(x) for x in range(40)]

    ct.dispatch_sync(forty)()
    failing_tasks = [ct.enqueue(failing, retries=0) for _ in range(15)]
    flaky_tasks = [ct.enqueue(flaky, str(tmp_path / str(n)), 99, retries=2) for n in range(5)]
    for task in failing_tasks + flaky_tasks:
        assert result_of(task).status == "FAILED"

    assert len(ct.list_tasks()) == 25
    tasks: list[Any] = ct.list_tasks(limit=None)
    total = len(tasks)
    completed = len([t for t in tasks if t["status"] == TaskStatus.SUCCESS])
    failed_tasks = [t for t in tasks if t["status"] == TaskStatus.FAILED]
    success_rate = (completed / total * 100) if total > 0 else 0
    assert (total, completed, len(failed_tasks)) == (60, 40, 20)
    assert f"{success_rate:.1f}" == "66.7"
    error_types: dict[str, int] = {}
    for task in failed_tasks:
        error = task.get("error", {})
        error_type = error.get("error_type", "unknown")
        error_types[error_type] = error_types.get(error_type, 0) + 1
    assert error_types == {"runtime": 20}
    assert {t["id"] for t in failed_tasks if t.get("attempts", 0) > 2} == set(flaky_tasks)
    recent_time = datetime.now(timezone.utc) - timedelta(minutes=10)
    assert len([t for t in failed_tasks if t.get("failed_at") and t.get("failed_at") > recent_time]) == 20
    assert all(task["error"].get("message", "Unknown") in ("code 7", "Connection timeout") for task in failed_tasks)
    success_tasks = [t for t in tasks if t.get("status") == "COMPLETED"]
    assert sorted(t["result"] for t in success_tasks) == list(range(1, 41))

    summary = ct.summary()
    assert summary.total == 60
    assert summary["counts"] == {"PENDING": 0, "RUNNING": 0, "COMPLETED": 40, "FAILED": 20, "CANCELLED": 0}
    assert f"{summary.success_rate:.1f}" == "66.7"
    assert summary.error_types == {"runtime": 20}
    assert summary.oldest_running is None

    assert [t["id"] for t in ct.list_tasks(min_attempts=3, limit=None)] == flaky_tasks[::-1]
    assert len(ct.list_tasks(status="SUCCESS", limit=None)) == 40
    assert len(ct.list_tasks(status=["FAILED", "CANCELLED"], limit=None)) == 20
    assert len(ct.list_tasks(error_type="runtime", limit=7)) == 7
    assert ct.list_tasks(error_type="timeout") == []
    assert ct.list_tasks(since=datetime.now(timezone.utc)) == []
    assert len(ct.list_tasks(since=timedelta(minutes=10), limit=None)) == 60
    assert [t["id"] for t in ct.list_tasks(flaky_tasks[0])] == [flaky_tasks[0]]
    with pytest.raises(ValueError, match="LOST"):
        ct.list_tasks(status="LOST")


@pytest.mark.usefixtures("own")
def test_dispatches_are_listed_with_covalents_fields() -> None:
    """Newest first or oldest first, by status, name and time, in pages or all."""
    before = datetime.now(timezone.utc)
    tasks = [ct.enqueue(add, n) for n in range(3)]
    broken = ct.enqueue(failing, retries=0)
    ids = [task.partition(":")[0] for task in (*tasks, broken)]
    for task in (*tasks, broken):
        result_of(task)

    listed = ct.list_dispatches()
    assert [it["dispatch_id"] for it in listed] == ids[::-1]
    assert (
        listed[1].items()
        >= {
            "root_dispatch_id": ids[2],
            "status": "COMPLETED",
            "name": "add",
            "electron_num": 1,
            "completed_electron_num": 1,
        }.items()
    )
    assert listed[1].completed_at >= listed[1].created_at >= before
    assert listed[1].updated_at == listed[1].completed_at
    assert [it.dispatch_id for it in ct.list_dispatches(latest=False, count=None)] == ids
    assert [it.dispatch_id for it in ct.list_dispatches(offset=1, count=2)] == [ids[2], ids[1]]
    assert [it.dispatch_id for it in ct.list_dispatches(status=ct.status.FAILED)] == [ids[3]]
    assert [it.dispatch_id for it in ct.list_dispatches(name="failing")] == [ids[3]]
    assert ct.list_dispatches(since=datetime.now(timezone.utc)) == []


@pytest.mark.usefixtures("own")
def test_what_waits_and_what_runs_is_listed_and_counted(tmp_path: Path) -> None:
    """Tasks that wait for others, for their next run, for somebody to start them, and the one that runs for longest."""

    @ct.electron
    def hold(seconds: Any) -> Any:
        time.sleep(seconds)
        return seconds

    @ct.lattice
    def chain() -> Any:
        return hold(hold(600))

    running = ct.dispatch(chain)()
    held = ct.dispatch(chain, disable_run=True)()
    waiting = ct.enqueue(ct.electron(flaky.electron_object.function, retry_delay=3600), str(tmp_path / "w"), 9)  # type: ignore[attr-defined]
    while not (ct.get_task(waiting).next_attempt_at and ct.get_task(f"{running}:0").status == "RUNNING"):  # type: ignore[union-attr]
        time.sleep(0.01)

    assert [t["id"] for t in ct.list_tasks()] == [waiting, f"{held}:2", f"{held}:0", f"{running}:2", f"{running}:0"]
    assert [t["id"] for t in ct.list_tasks(status="RUNNING")] == [f"{running}:0"]
    assert [t["id"] for t in ct.list_tasks(status="PENDING", min_attempts=1)] == [waiting]
    summary = ct.summary()
    assert summary.counts == {"PENDING": 4, "RUNNING": 1, "COMPLETED": 0, "FAILED": 0, "CANCELLED": 0}
    assert summary.success_rate is None
    assert summary.oldest_running["id"] == f"{running}:0"
    assert ct.get_task_result(waiting) is None  # it failed, and will be run again

    ct.cancel(running)
    ended: Any = ct.get_task_result(f"{running}:2", wait=True, timeout=120)
    assert ended.status == "CANCELLED"
    assert ct.summary().counts["CANCELLED"] == 2


@pytest.mark.usefixtures("live")
def test_a_task_that_never_started_says_which_one_it_needed() -> None:
    """It has failed too, with the type `dependency`; its dispatch shows Covalent's word."""

    @ct.lattice
    def chain() -> object:
        return ct.electron(add)(ct.electron(failing)())

    result = ct.dispatch_sync(chain)()
    record: Any = result.get_task_result(1)

    assert record.status == "FAILED"
    assert record.error.error_type == "dependency"
    assert "failing (node 0)" in record.error.message
    assert not record.error.can_retry()
    assert [t["error"]["error_type"] for t in ct.list_tasks(result.dispatch_id)] == ["dependency", "runtime"]
    assert result.get_node_result(1)["status"] == "NEW_OBJECT"


@pytest.mark.usefixtures("live")
def test_a_node_tells_of_its_runs(tmp_path: Path) -> None:
    """Covalent's ten keys stay as they are; ours come after them, and every run has a record."""

    @ct.lattice
    def workflow(witness: str) -> str:
        return ct.electron(flaky, retries=4, retry_delay=0, time_limit=60)(witness, 3)

    result = ct.dispatch_sync(workflow)(str(tmp_path / "witness"))
    node = result.get_node_result(0)

    assert list(node)[:10] == [
        *("node_id", "node_name", "start_time", "end_time", "status", "output", "error", "sublattice_result"),
        *("stdout", "stderr"),
    ]
    assert (node["attempts"], node["retry_count"], node["max_retries"], node["time_limit"]) == (3, 2, 4, 60)
    assert (node["error"], node["error_type"], node["error_details"]) == (None, None, None)
    assert node["worker"]
    attempts: Any = result.get_node_attempts(0)
    assert [it["attempt"] for it in attempts] == [1, 2, 3]
    assert [it.outcome for it in attempts] == ["FAILED", "FAILED", "COMPLETED"]
    assert attempts[1]["error_details"]["retry_count"] == 1
    assert attempts[1]["error_details"]["exception_class"] == "ConnectionError"
    assert all(it.ended_at >= it.started_at and it.worker for it in attempts)
    assert json.dumps(attempts)


def test_moments_are_texts_that_compare_with_datetimes() -> None:
    """Both ways round, with texts, and in order."""
    early, late = Timestamp.at(1.5), Timestamp.at(2)
    at = dt.datetime.fromtimestamp(1.75, timezone.utc)

    assert early < at < late
    assert at > early
    assert early <= "1970-01-01T00:00:01.500000Z" <= early
    assert early == dt.datetime.fromtimestamp(1.5, timezone.utc)
    assert sorted([late, early]) == [early, late]
    assert early.datetime.isoformat() == "1970-01-01T00:00:01.500000+00:00"
    with pytest.raises(TypeError, match="compares with"):
        assert early < 3


@pytest.mark.usefixtures("live")
def test_a_key_names_a_piece_of_work() -> None:
    """Enqueued twice under one key it is one task."""
    key = f"nightly {os.getpid()}"
    first = ct.enqueue(add, 1, task_key=key)

    assert ct.enqueue(add, 5, task_key=key) == first
    assert result_of(first).result == 2


@pytest.mark.usefixtures("live")
def test_enqueue_takes_what_the_electron_says_unless_told_otherwise() -> None:
    """Three retries for a function, the electron's for an electron, or what is given; nonsense is refused."""
    single = ct.electron(retries=1, time_limit=50, executor="local")(add)
    limits = []
    for task in (
        ct.enqueue(add, 1),
        ct.enqueue(single, 1),
        ct.enqueue(single, 1, retries=0, time_limit=timedelta(seconds=9)),
    ):
        result_of(task)
        detail = connect().node(task.partition(":")[0], 0)
        limits.append((detail.retries, detail.time_limit, detail.executor))

    assert limits == [(3, None, "dask"), (1, 50, "local"), (0, 9, "local")]
    with pytest.raises(GraphError, match="retries"):
        ct.enqueue(add, 1, retries=-1)
    with pytest.raises(GraphError, match="3 positional arguments"):
        ct.enqueue(add, 1, 2, 3)


@pytest.mark.usefixtures("live")
def test_a_wait_that_is_given_up_leaves_no_thread_behind() -> None:
    """Cancelling an awaiting caller ends the wait; other work of the loop goes on meanwhile."""

    async def main() -> int:
        task_id = await ct.async_enqueue(time.sleep, 600)
        waiting = asyncio.create_task(ct.async_get_task_result(task_id, wait=True))
        ticks = 0
        for _ in range(20):
            await asyncio.sleep(0.01)
            ticks += 1
        waiting.cancel()
        ct.cancel(task_id.partition(":")[0])
        return ticks

    before = threading.active_count()
    assert asyncio.run(main()) == 20
    assert threading.active_count() <= before + 1


# -- the opposites of what OmniQ's code does -------------------------------------------------------------------------


@pytest.mark.usefixtures("own")
def test_a_final_failure_is_stored(tmp_path: Path) -> None:
    """Opposite 1: two retries are three runs, the last one is told, and the list of failures has it."""
    witness = tmp_path / "witness"
    task = ct.enqueue(flaky, str(witness), 99, retries=2)

    record = result_of(task)
    assert (record["status"], record["attempts"], record["error"]["retry_count"]) == ("FAILED", 3, 2)
    assert runs(witness)["run"] == 3
    assert [t["id"] for t in ct.list_tasks(status=TaskStatus.FAILED)] == [task]


@pytest.mark.usefixtures("live")
def test_a_time_limit_is_enforced() -> None:
    """Opposite 2: a second's limit ends a task of a minute, which is no success and is not run again."""
    began = time.monotonic()
    record = result_of(ct.enqueue(time.sleep, 60, time_limit=1))

    assert time.monotonic() - began < 30
    assert (record.status, record.attempts, record.error.error_type) == ("FAILED", 1, "timeout")


@pytest.mark.usefixtures("live")
def test_a_result_that_cannot_be_pickled_is_a_failure() -> None:
    """Opposite 3: it ends, and says why."""
    record = result_of(ct.enqueue(lambda: threading.Lock(), retries=0))  # noqa: PLW0108

    assert record.status == "FAILED"
    assert record.error.error_type == "serialization"
    assert "lock" in record.error.message


class InTheHost(ct.executor.BaseExecutor):
    """An executor of one's own."""

    def run(self, function: Any, args: Any, kwargs: Any, task_metadata: Any) -> Any:
        """Call."""
        return function(*args, **kwargs)


@ct.electron(retries=1, retry_delay=0)
def length(values: bytes) -> int:
    """Take something large."""
    return len(values)


@pytest.mark.parametrize("executor", ["dask", InTheHost()])
def test_a_value_that_cannot_be_read_is_a_failure_of_the_storage(live: Client, executor: Any) -> None:
    """And is tried again, as such failures are by default; in a pool and in the executor host."""
    values = f"{executor}".encode() * 50_000
    flow = ct.lattice(length, executor=executor)
    run = ct.dispatch(flow, disable_run=True)(values)
    used = {value.digest for value in live.submission(run).values if value.digest}
    assert used
    for digest in used:
        live.blobs.path(digest).unlink()
    ct.start(run)
    ct.get_result(run, wait=True, timeout=60)
    record = ct.get_task_result(f"{run}:0")

    assert record is not None
    assert (record.status, record.attempts, record["error"]["error_type"]) == ("FAILED", 2, "storage")
    assert "length" in record["error"]["message"]
    assert record.error is not None
    assert record.error.can_retry()


@pytest.mark.usefixtures("own")
def test_results_are_not_lost_when_many_come_in_at_once() -> None:
    """Opposite 4: four clients at a time, and every result is there."""
    found: list[str] = []

    def client(number: int) -> None:
        found.extend(ct.enqueue(add, number, y=n) for n in range(10))

    threads = [threading.Thread(target=client, args=(number * 100,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    results = sorted(result_of(task).result for task in found)
    assert results == sorted(number * 100 + n for number in range(4) for n in range(10))
    assert ct.summary().counts["COMPLETED"] == 40


@pytest.mark.usefixtures("own")
def test_a_finished_task_is_listed_as_finished() -> None:
    """Opposite 5: at once, by the list as by the record."""
    task = ct.enqueue(add, 1)
    result_of(task)

    assert [(t["id"], t["status"]) for t in ct.list_tasks()] == [(task, "COMPLETED")]


def test_everything_is_told_again_after_the_dispatcher_was_killed(own: Client, tmp_path: Path) -> None:
    """Records, attempts, lists and counts are the same; what was waiting for its next run still is."""
    done = ct.enqueue(add, 1)
    broken = ct.enqueue(flaky, str(tmp_path / "broken"), 99, retries=1)
    waiting = ct.enqueue(ct.electron(flaky.electron_object.function, retry_delay=3600), str(tmp_path / "waits"), 9)  # type: ignore[attr-defined]
    while not ct.get_task(waiting).next_attempt_at:  # type: ignore[union-attr]
        time.sleep(0.01)

    def told() -> Any:
        records = [result_of(done), result_of(broken), ct.get_task(waiting)]
        dispatch = ct.get_result(broken.partition(":")[0])
        attempts = dispatch.get_node_attempts(0)
        return json.loads(json.dumps([records, attempts, ct.list_tasks(), ct.summary(), ct.list_dispatches()]))

    before = told()
    os.kill(own.status().pid, signal.SIGKILL)

    assert told() == before
    assert ct.get_task_result(waiting) is None


@pytest.mark.usefixtures("own")
def test_purging_forgets_what_ended_long_ago_and_nothing_else() -> None:
    """By age or by date; what waits to be started, and what ended since, stays."""
    old = [ct.enqueue(add, n) for n in range(2)]
    for task in old:
        result_of(task)
    held = ct.dispatch(ct.lattice(ct.electron(add)), disable_run=True)(1)
    between = datetime.now(timezone.utc)
    young = ct.enqueue(add, 5)
    result_of(young)

    assert ct.purge_results(older_than=timedelta(hours=1)) == 0
    assert ct.purge_results(older_than=between) == 2
    assert [t["id"] for t in ct.list_tasks()] == [young, f"{held}:0"]
    assert ct.get_task_result(old[0]) is None
    assert result_of(young).result == 6
    assert asyncio.run(ct.async_purge_results(older_than=0)) == 1
    assert ct.summary().counts["PENDING"] == 1
    with pytest.raises(ValueError, match="negative"):
        ct.purge_results(older_than=-1)
