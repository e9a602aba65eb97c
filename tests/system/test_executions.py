"""TriggerFlow's `execution.result`, for our dispatches: through a real dispatcher, a real pool and real workers."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.waiting import until

import covalab as ct
from covalab.client import Client
from covalab.core.errors import DispatcherError, ExecutionClosed
from covalab.core.model import TaskQuery

pytestmark = pytest.mark.sampled(8, of="file")

NEVER = 60.0
"""Seconds after which a test gives up waiting for what must come."""


@ct.electron
def write_report(score: Any) -> Any:
    """Write state, and say so in the stream."""
    ct.set_state("report", {"score": score, "parts": {"a": [1]}})
    ct.append_state("log", "begun")
    ct.append_state("log", "ended")
    ct.set_state("gone", 1)
    ct.del_state("gone")
    ct.put_into_stream({"step": 1})
    ct.put_into_stream("two")
    return score


@ct.electron
def set_final(value: Any) -> Any:
    """Set the final result, and return something else."""
    ct.set_final_result(value)
    return "returned"


@ct.electron
def refused() -> None:
    """Write below a number."""
    ct.set_state("n", 1)
    ct.set_state("n.deeper", 2)


@ct.electron
def explode() -> None:
    """Write state, then fail."""
    ct.set_state("before", 1)
    message = "no"
    raise ValueError(message)


@ct.electron
def wait_for(file: str) -> str:
    """Wait until a file is there."""
    while not Path(file).exists():
        time.sleep(0.02)
    return "seen"


@ct.electron
def say(file: str = "") -> list[Any]:
    """Return what this task is told."""
    told = ct.get_interventions()
    for record in told:
        ct.mark_intervention_consumed(record["id"], note="read", metadata={"n": len(told)})
    if file:
        raise_once(file)
    return [record["payload"] for record in told]


def raise_once(file: str) -> None:
    """Fail the first time."""
    if not Path(file).exists():
        Path(file).touch()
        message = "once"
        raise ValueError(message)


@ct.electron
def lag(n: int) -> None:
    """Put many items into the stream."""
    for number in range(n):
        ct.put_into_stream(number)


@ct.lattice
def reporting(score: Any) -> Any:
    """One node that writes."""
    return write_report(score)


@ct.lattice(intervention_mode="auto")
def steered(file: str) -> Any:
    """Wait, then see what people said meanwhile."""
    return ct.wait(say(), wait_for(file))


@ct.lattice
def approved(score: Any) -> Any:
    """Ask somebody."""
    return write_report(ct.pause_for("approval", write_report(score)))


def killed(client: Client) -> None:
    """Kill the dispatcher, and wait for the next."""
    pid = client.status().pid
    os.kill(pid, signal.SIGKILL)
    until(lambda: client.status().pid != pid)


# -- the seed's example and its table of readers ---------------------------------------------------------------------


def test_the_seeds_example(own: Client) -> None:
    """State, expired interventions and metadata after close: in plain Python, in a loop, and after a kill."""

    @ct.lattice(intervention_mode="planned")
    def flow(score: int) -> Any:
        return write_report(score)

    dispatch = ct.dispatch(flow, auto_close=False)(5)
    execution = ct.get_execution(dispatch)
    until(lambda: ct.get_result(dispatch).get_state("report"))
    ct.intervene(dispatch, {"too": "late"}, author="me")
    assert ct.get_result(dispatch).status == "RUNNING"
    snapshot = execution.close()

    def check() -> None:
        result = ct.get_execution(dispatch).result
        report = result.get_state("report")
        late = result.get_interventions(status="expired")
        meta = result.get_meta()
        assert report == {"score": 5, "parts": {"a": [1]}}
        assert [(record["payload"], record["author"], record["version"]) for record in late] == [
            ({"too": "late"}, "me", 1)
        ]
        assert (meta["status"], meta["lifecycle_state"], meta["close_reason"]) == ("completed", "closed", "manual")
        assert meta["flow_name"] == "flow"
        assert meta["execution_id"] == dispatch
        assert all(str(meta[name]).endswith("Z") for name in ("created_at", "started_at", "closed_at"))
        assert result.snapshot == snapshot
        assert set(snapshot) == {"report", "log", "$interventions"}

    check()

    async def in_a_loop() -> None:
        check()
        assert await ct.get_execution(dispatch).result.async_get_final_result(timeout=5) == 5

    asyncio.run(in_a_loop())
    killed(own)
    check()
    asyncio.run(in_a_loop())


def test_readers_after_the_end(live: Client) -> None:
    """Dot paths, tuple paths, defaults, the branch of the nodes, and what there is not."""
    del live
    result = ct.dispatch_sync(reporting)(7)

    assert result.get_state("report.parts.a") == [1]
    assert result.get_state("report.parts.a.0", "no index") == "no index"
    assert result.get_state("report.missing") is None
    assert result.get_state("gone", "gone") == "gone"
    assert result.get_state(("report", "score")) == 7
    assert result.get_state("log") == ["begun", "ended"]
    assert result.get_state("nodes.write_report.output") == 7
    assert result.get_state(("nodes", 0, "status")) == "COMPLETED"
    assert result.get_state("nodes.0.attempts") == 1
    assert result.get_state("nodes.nobody", "none") == "none"
    assert dict(result.get_state()) == result.get_state().to_dict() == result.snapshot
    assert result.get_interventions() == []
    assert result.get_latest_intervention("default") == "default"
    with pytest.raises(TypeError):
        result.get_latest_intervention(nonsense=1)
    with pytest.raises(RuntimeError, match="takes no interventions"):
        ct.intervene(result.dispatch_id, 1)
    assert result.execution.result is result


def test_what_is_read_after_close_can_be_changed_without_harm(live: Client) -> None:
    """Every reader gives a copy: of state, of the whole state, of the snapshot, of a node's output."""
    del live
    result = ct.dispatch_sync(reporting)([1])
    result.get_state("report")["parts"]["a"].append(2)
    result.get_state()["log"].append("more")
    snapshot = result.snapshot
    assert snapshot is not None
    snapshot["report"].clear()
    result.get_state("nodes.write_report.output").append(3)
    dict(result.get_state("nodes.write_report"))["output"].append(3)

    assert result.get_state("report") == {"score": [1], "parts": {"a": [1]}}
    assert result.get_state("log") == ["begun", "ended"]
    assert result.get_state("nodes.write_report.output") == [1]
    assert result.snapshot == {"report": {"score": [1], "parts": {"a": [1]}}, "log": ["begun", "ended"]}


def test_a_snapshot_is_none_while_it_runs(live: Client, tmp_path: Path) -> None:
    """State is live before the end; the final result is waited for with a warning, or an exception."""
    del live

    @ct.lattice
    def slow(file: str) -> Any:
        return wait_for(file)

    file = tmp_path / "go"
    result = ct.get_result(ct.dispatch(slow)(str(file)))
    assert result.snapshot is None
    with pytest.warns(UserWarning, match="no final result"):
        assert result.get_final_result(timeout=0.1) is None
    with pytest.raises(TimeoutError):
        asyncio.run(result.async_get_final_result(timeout=0.1, raise_on_timeout=True))
    file.touch()
    assert result.get_final_result(timeout=NEVER) == "seen"
    assert result.status != "COMPLETED"
    assert result.refresh().status == "COMPLETED"
    assert result.result == "seen"


@ct.electron
def noting(state: dict[str, Any]) -> None:
    """Write a part of the state and return nothing."""
    for key, value in state.items():
        ct.set_state(key, value)


def test_a_flow_that_returns_nothing_has_its_snapshot_as_final_result(live: Client) -> None:
    """That of its end, also if it is empty, and not before; a task's None that is returned is a value."""
    del live

    @ct.lattice
    def without_return(state: dict[str, Any]) -> None:
        noting(state)

    @ct.lattice
    def of_a_task(state: dict[str, Any]) -> Any:
        return noting(state)

    state = {"report": {"rows": [1, 2]}}
    for given in (state, {}):
        result = ct.dispatch_sync(without_return)(given)
        assert (result.get_final_result(), result.result) == (given, None)
        assert asyncio.run(result.async_get_final_result(timeout=30)) == result.snapshot == given
    assert ct.dispatch_sync(of_a_task)(state).get_final_result() is None

    held_open = ct.get_execution(ct.dispatch(without_return, auto_close=False)(state))
    until(lambda: held_open.result.get_state("report.rows") == [1, 2])
    with pytest.warns(UserWarning, match="no final result"):
        assert held_open.result.get_final_result(timeout=0.3) is None
    assert held_open.close() == held_open.result.get_final_result() == state


def test_the_final_result_in_its_order(live: Client) -> None:
    """What a task set, else the lattice's value, else the snapshot; a failure is raised only when asked for."""
    del live

    @ct.lattice
    def chosen() -> Any:
        return set_final({"a": 1})

    @ct.lattice
    def failing() -> Any:
        return explode()

    result = ct.dispatch_sync(chosen)()
    assert (result.get_final_result(), result.result) == ({"a": 1}, "returned")
    assert result.get_state("$final_result.a") == 1
    assert result.snapshot == {"$final_result": {"a": 1}}
    result = ct.dispatch_sync(failing)()
    assert (result.get_final_result(), result.result) == ({"before": 1}, None)
    with pytest.raises(RuntimeError, match="no"):
        result.raise_for_status()


def test_a_write_that_cannot_be_done_is_told(live: Client) -> None:
    """State keeps what it had; the stream says what was refused and why."""
    del live

    @ct.lattice
    def flow() -> Any:
        return refused()

    result = ct.dispatch_sync(flow)()
    assert result.get_state("n") == 1
    (item,) = result.execution.get_runtime_stream()
    assert (item["type"], item["path"], item["action"]) == ("state", ["n", "deeper"], "set")
    assert "of type int" in item["why"]


def test_outside_of_a_task_there_is_nobody_to_speak_for() -> None:
    """Each of the functions for tasks says what to do instead."""
    for call in (
        lambda: ct.set_state("a", 1),
        lambda: ct.append_state("a", 1),
        lambda: ct.del_state("a"),
        lambda: ct.put_into_stream(1),
        lambda: ct.set_final_result(1),
        ct.get_interventions,
        lambda: ct.mark_intervention_consumed("x"),
    ):
        with pytest.raises(RuntimeError, match="inside an electron"):
            call()


# -- the stream ------------------------------------------------------------------------------------------------------


def test_a_stream_is_replayed_from_its_first_item(own: Client) -> None:
    """By independent readers, with and without a loop, after the end and after a kill."""
    dispatch = ct.dispatch(reporting)(1)
    execution = ct.get_execution(dispatch)

    async def read() -> list[Any]:
        return [item async for item in execution.get_async_runtime_stream(timeout=NEVER)]

    first = list(execution.get_runtime_stream(timeout=NEVER))
    assert first == [{"step": 1}, "two"]
    assert list(execution.get_runtime_stream()) == first
    assert asyncio.run(read()) == first
    killed(own)
    assert list(ct.get_execution(dispatch).get_runtime_stream()) == first
    assert asyncio.run(read()) == first


def test_a_stream_ends_with_a_warning_when_nothing_comes(live: Client, tmp_path: Path) -> None:
    """`timeout` is the longest gap between two items."""
    del live

    @ct.lattice
    def slow(file: str) -> Any:
        return wait_for(file)

    dispatch = ct.dispatch(slow)(str(tmp_path / "go"))
    with pytest.warns(UserWarning, match="nothing came"):
        assert list(ct.get_execution(dispatch).get_runtime_stream(timeout=0.1)) == []
    (tmp_path / "go").touch()
    assert ct.get_result(dispatch, wait=True).result == "seen"


def test_a_stream_that_is_too_long_says_what_it_let_go(monkeypatch: pytest.MonkeyPatch, own: Client) -> None:
    """Nothing is lost in silence: the first item says how many came before."""
    monkeypatch.setenv("COVALAB_STREAM_ITEMS", "10")
    own.stop()

    @ct.lattice
    def flow(n: int) -> Any:
        return lag(n)

    result = ct.dispatch_sync(flow)(35)
    first, *rest = result.execution.get_runtime_stream()
    assert first["type"] == "lagged"
    assert rest == list(range(first["missed"], 35))
    assert 10 <= len(rest) <= 12


# -- people ----------------------------------------------------------------------------------------------------------


def test_an_answer_is_the_value_of_a_node(own: Client) -> None:
    """The wait survives a kill; the answer is final, and harmless when it is repeated by the same request."""
    dispatch = ct.dispatch(approved)(3)
    (waiting,) = until(lambda: ct.get_interrupts(dispatch))
    assert (waiting["type"], waiting["text"], waiting["status"]) == ("approval", "3", "waiting")
    killed(own)
    result = ct.get_result(dispatch)
    assert result.status == "RUNNING"
    assert result.get_meta()["status"] == "waiting"
    assert result.get_meta()["waiting_for"] == [waiting["id"]]
    assert result.get_interrupts() == [waiting]
    assert own.summary(dispatch).waiting == 1

    with pytest.raises(KeyError, match="no interrupt"):
        ct.continue_with(dispatch, "nobody", 1)
    record = ct.continue_with(dispatch, waiting["id"], {"ok": True}, request_id="mine", actor="me")
    assert (record["status"], record["actor"]) == ("resumed", "me")
    assert ct.continue_with(dispatch, waiting["id"], {"ok": True}, request_id="mine") == record
    with pytest.raises(ValueError, match="answered by me"):
        ct.continue_with(dispatch, waiting["id"], {"ok": False}, request_id="mine")
    result = ct.get_result(dispatch, wait=True)
    assert result.status == "COMPLETED"
    assert result.result == {"ok": True}
    assert ct.continue_with(dispatch, waiting["id"], {"ok": True}, request_id="mine") == record
    with pytest.raises(ValueError, match="answered by me"):
        ct.continue_with(dispatch, waiting["id"], {"ok": True})
    killed(own)
    assert ct.get_result(dispatch).result == {"ok": True}
    actions = [
        item["action"] for item in result.execution.get_runtime_stream() if isinstance(item, dict) and "id" in item
    ]
    assert actions == ["waiting", "resumed"]


def test_who_is_asked_sees_what_there_is_to_decide_about(live: Client) -> None:
    """Also where it is put together from what electrons made."""
    del live

    @ct.lattice
    def flow(score: float) -> object:
        return ct.pause_for("approval", {"report": [write_report(score), "as planned"]})

    dispatch = ct.dispatch(flow)(3)
    (waiting,) = until(lambda: ct.get_interrupts(dispatch))
    assert waiting["text"] == "{report: [3, as planned]}"
    ct.continue_with(dispatch)
    assert ct.get_result(dispatch, wait=True).result is True


def test_an_answer_is_acknowledged_however_busy_the_dispatcher_is(live: Client) -> None:
    """What is being written down for others just then, or for the dispatch above, does not count."""

    @ct.electron
    @ct.lattice
    def below() -> Any:
        return ct.pause_for("approval")

    @ct.lattice
    def above() -> Any:
        return [below() for _ in range(8)]

    dispatch = ct.dispatch(above)()
    answered: set[str] = set()
    while len(answered) < 8:
        for one in live.dispatches(root=dispatch, status="running"):
            if one.waiting and one.id not in answered:
                ct.continue_with(one.id, value=one.id)
                answered.add(one.id)
    assert set(ct.get_result(dispatch, wait=True).result) == answered


def test_what_waits_for_a_person_is_a_running_task(own: Client) -> None:
    """The list of tasks has it, as the counts say, and so has the summary as the one that runs for longest."""
    dispatch = ct.dispatch(approved)(3)
    (waiting,) = until(lambda: ct.get_interrupts(dispatch))

    summary = own.tasks_summary()
    (running,) = own.tasks(TaskQuery(status="running"))
    assert summary.counts["running"] == 1
    assert f"{running.dispatch}:{running.node}" == waiting["id"]
    assert summary.oldest_running == running
    ct.cancel(dispatch)


def test_a_wait_can_be_cancelled(live: Client) -> None:
    """With its dispatch; nothing waits any more then."""
    del live
    dispatch = ct.dispatch(approved)(3)
    (waiting,) = until(lambda: ct.get_interrupts(dispatch))
    ct.cancel(dispatch)
    result = ct.get_result(dispatch, wait=True)
    assert result.status == "CANCELLED"
    assert [one["status"] for one in result.get_interrupts()] == ["cancelled"]
    with pytest.raises(ValueError, match="cancelled"):
        ct.continue_with(dispatch, waiting["id"], 1)


def test_a_paused_dispatch_sends_nothing_new(own: Client, tmp_path: Path) -> None:
    """Also after a kill; then it goes on where it was."""

    @ct.lattice
    def flow(file: str) -> Any:
        return ct.wait(write_report(2), wait_for(file))

    dispatch = ct.dispatch(flow)(str(tmp_path / "go"))
    until(lambda: own.summary(dispatch).counts.running)
    time.sleep(0.7)  # what travelled with it is given back after half a second
    ct.pause(dispatch)
    (tmp_path / "go").touch()
    until(lambda: own.summary(dispatch).counts.completed == 1)
    killed(own)
    assert own.summary(dispatch).paused
    with pytest.raises(DispatcherError, match="paused"):
        ct.get_execution(dispatch).close()
    time.sleep(0.3)
    assert own.summary(dispatch).counts.completed == 1
    ct.resume(dispatch)
    result = ct.get_result(dispatch, wait=True)
    assert (result.result, result.get_meta()["paused"]) == (2, False)
    with pytest.raises(RuntimeError, match="ended"):
        ct.pause(dispatch)


def test_those_who_wait_keep_nobody_from_answering(live: Client) -> None:
    """However many await something, the answer that they wait for gets through, in the same loop."""

    async def main() -> list[Any]:
        dispatch = ct.dispatch(approved)(3)
        result = ct.get_result(dispatch)
        waiting = [asyncio.create_task(result.async_get_final_result()) for _ in range(60)]
        (interrupt,) = until(lambda: ct.get_interrupts(dispatch))
        waiting += [asyncio.create_task(ct.async_get_task_result(interrupt["id"], wait=True)) for _ in range(60)]
        await asyncio.sleep(0.1)
        await asyncio.wait_for(ct.async_continue_with(dispatch, value="yes"), NEVER)
        return await asyncio.wait_for(asyncio.gather(*waiting), NEVER)

    found = asyncio.run(main())
    assert found[:60] == ["yes"] * 60
    assert {record["result"] for record in found[60:]} == {"yes"}


def test_a_program_that_stops_waiting_can_end(live: Client, tmp_path: Path) -> None:
    """No thread that waits for ever holds it back."""

    @ct.lattice
    def slow(file: str) -> Any:
        return wait_for(file)

    file = tmp_path / "go"
    dispatch = ct.dispatch(slow)(str(file))
    program = (
        "import asyncio, sys\n"
        "import covalab as ct\n"
        "async def main():\n"
        "    execution = ct.get_execution(sys.argv[1])\n"
        "    for wait in (ct.async_get_task_result(sys.argv[1], wait=True), execution.async_close()):\n"
        "        try:\n"
        "            await asyncio.wait_for(wait, 0.2)\n"
        "        except (TimeoutError, asyncio.TimeoutError):\n"
        "            print('gave up')\n"
        "asyncio.run(main())\n"
    )
    command = [sys.executable, "-c", program, dispatch]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=240, check=True)

    assert ran.stdout == "gave up\ngave up\n"
    file.touch()
    assert ct.get_result(dispatch, wait=True).get_meta()["lifecycle_state"] == "closed"


# -- interventions ---------------------------------------------------------------------------------------------------


def test_an_intervention_is_inserted_before_the_node_it_is_meant_for(live: Client, tmp_path: Path) -> None:
    """Targeted and untargeted ones; what a task did about them is in the ledger; the rest expires."""
    del live
    file = tmp_path / "go"
    dispatch = ct.dispatch(steered)(str(file))
    until(lambda: ct.get_result(dispatch).get_state("nodes.wait_for.status") == "RUNNING")
    first = ct.intervene(dispatch, {"lr": 0.1}, target="say", author="ada", metadata={"k": 1})
    ct.intervene(dispatch, "for all")
    ct.intervene(dispatch, "for nobody", target="nobody")
    assert (first["status"], first["version"]) == ("pending", 1)
    with pytest.raises(TypeError, match="dict"):
        ct.intervene(dispatch, 1, metadata=[1])  # type: ignore[arg-type]
    file.touch()
    result = ct.get_result(dispatch, wait=True)

    assert result.result == [{"lr": 0.1}, "for all"]
    assert [record["status"] for record in result.get_interventions()] == ["inserted", "inserted", "expired"]
    assert [record["payload"] for record in result.get_interventions(since_version=1, status="inserted")] == ["for all"]
    assert result.get_latest_intervention(consumed_by="say")["payload"] == "for all"
    record = result.get_interventions(target="say")[0]
    assert record["insertion"]["node_name"] == "say"
    assert record["consumers"]["say"]["status"] == "applied"
    assert record["consumers"]["say"]["metadata"] == {"n": 2}
    assert result.snapshot is not None
    assert list(result.snapshot["$interventions"]) == [one["id"] for one in result.get_interventions()]
    with pytest.raises(RuntimeError, match="closed"):
        ct.intervene(dispatch, 1)
    actions = [item["action"] for item in result.execution.get_runtime_stream()]
    assert [actions.count(action) for action in ("append", "consume", "expire")] == [3, 2, 1]


def test_a_retry_sees_the_same_interventions(live: Client, tmp_path: Path) -> None:
    """What was said between two runs of a node is for the next node."""
    del live

    @ct.lattice(intervention_mode="auto")
    def flow(file: str, once: str) -> Any:
        again = ct.electron(say, retries=1, retry_delay=1.0, retry_jitter=0.0)
        return ct.wait(again(once), wait_for(file))

    dispatch = ct.dispatch(flow)(str(tmp_path / "go"), str(tmp_path / "once"))
    until(lambda: ct.get_result(dispatch).get_state("nodes.wait_for.status") == "RUNNING")
    ct.intervene(dispatch, "before")
    (tmp_path / "go").touch()
    until((tmp_path / "once").exists)
    ct.intervene(dispatch, "between")
    result = ct.get_result(dispatch, wait=True)

    assert result.result == ["before"]
    assert [record["status"] for record in result.get_interventions()] == ["inserted", "expired"]


def test_planned_interventions_are_inserted_at_points(live: Client, tmp_path: Path) -> None:
    """Only there, and only those with the point's target."""
    del live

    @ct.lattice
    def flow(file: str) -> Any:
        point = ct.intervention_point("review")
        ct.wait(point, wait_for(file))
        return ct.wait(say(), point)

    dispatch = ct.dispatch(flow)(str(tmp_path / "go"))
    until(lambda: ct.get_result(dispatch).get_state("nodes.wait_for.status") == "RUNNING")
    ct.intervene(dispatch, "review", target="review")
    ct.intervene(dispatch, "untargeted")
    (tmp_path / "go").touch()
    result = ct.get_result(dispatch, wait=True)

    assert result.result == ["review"]
    assert [record["status"] for record in result.get_interventions()] == ["inserted", "expired"]

    @ct.lattice(intervention_mode="auto")
    def both() -> Any:
        return ct.wait(say(), ct.intervention_point())

    with pytest.raises(ValueError, match="choose one"):
        ct.dispatch(both)()


# -- the life of an execution ----------------------------------------------------------------------------------------


def test_seal_unseal_and_close(live: Client) -> None:
    """What is sealed takes nothing new and goes on; a close that is refused leaves it open."""
    del live

    @ct.lattice(intervention_mode="auto")
    def flow() -> Any:
        return ct.pause_for("approval")

    dispatch = ct.dispatch(flow)()
    execution = ct.get_execution(dispatch)
    (waiting,) = until(lambda: ct.get_interrupts(dispatch))
    execution.seal()
    execution.seal()
    meta = execution.result.get_meta()
    assert (meta["lifecycle_state"], meta["status"]) == ("sealed", "waiting")
    with pytest.raises(ExecutionClosed, match="sealed"):
        ct.intervene(dispatch, 1)
    with pytest.raises(ExecutionClosed, match="sealed"):
        ct.continue_with(dispatch, waiting["id"], 1)
    execution.unseal()
    with pytest.raises(RuntimeError, match="waits for 'approval'"):
        execution.close()
    assert execution.result.get_meta()["lifecycle_state"] == "open"
    version = execution.result.get_meta()["state_version"]
    assert execution.close(reason="enough", pending_interrupts="cancel") == {}
    assert execution.close() == {}
    meta = execution.result.get_meta()
    assert (meta["status"], meta["lifecycle_state"], meta["close_reason"]) == ("cancelled", "closed", "enough")
    assert meta["state_version"] > version
    with pytest.warns(RuntimeWarning, match="stays so"):
        execution.unseal()


def test_an_execution_without_auto_close_stays_open(own: Client) -> None:
    """RUNNING until it is closed, also after a kill."""
    dispatch = ct.dispatch(reporting, auto_close=False)(1)
    until(lambda: own.summary(dispatch).counts.completed == 1)
    killed(own)
    result = ct.get_result(dispatch)
    assert result.status == "RUNNING"
    assert result.get_meta()["lifecycle_state"] == "open"
    assert result.snapshot is None
    assert result.result is None
    assert result.get_final_result(timeout=20) == 1  # the lattice's value is there before it is closed
    snapshot = result.execution.close()
    assert snapshot["log"] == ["begun", "ended"]
    assert ct.get_result(dispatch).status == "COMPLETED"
    assert result.get_final_result() == 1


def test_what_a_close_does_not_wait_for_is_cancelled(live: Client, tmp_path: Path) -> None:
    """With a warning."""
    del live

    @ct.lattice
    def slow(file: str) -> Any:
        return wait_for(file)

    execution = ct.get_execution(ct.dispatch(slow)(str(tmp_path / "never")))
    with pytest.warns(UserWarning, match="cancelled after"):
        assert execution.close(timeout=0.2) == {}
    assert execution.result.status == "CANCELLED"
