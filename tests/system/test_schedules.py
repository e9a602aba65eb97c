"""`eta` and `interval` as users write them, with real processes and the clock of the wall (seed-systems 2.4)."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.waiting import until

import covalab as ct
from covalab.cli import main
from covalab.client import Client, connect
from covalab.client.launcher import find
from covalab.core.errors import GraphError
from covalab.triggers import TimeTrigger

pytestmark = pytest.mark.sampled(7, of="file")


@ct.electron
def stamp(folder: str, fails: bool = False) -> float:
    """Leave a file that says when."""
    now = time.time()
    (Path(folder) / f"{time.time_ns()}").write_text(str(now))
    if fails:
        message = "on purpose"
        raise ValueError(message)
    return now


def stamps(folder: Path) -> list[float]:
    """Return when the runs began."""
    return sorted(float(text) for file in folder.glob("[0-9]*") if (text := file.read_text()))


def kill(client: Client) -> None:
    """End the dispatcher as a power cut would."""
    address = find(client.data_dir)
    assert address is not None
    os.kill(address.pid, signal.SIGKILL)
    until(lambda: find(client.data_dir) is None)


@pytest.mark.usefixtures("live")
def test_a_task_is_not_claimed_before_its_time(tmp_path: Path) -> None:
    """OmniQ's `eta`: an aware datetime; PENDING until then; a time in the past is now; waiting for the result waits."""
    at = datetime.now(timezone.utc) + timedelta(seconds=2)
    task = ct.enqueue(stamp, str(tmp_path), eta=at)
    record = ct.get_task(task)

    assert record is not None
    assert (record["status"], record["attempts"]) == ("PENDING", 0)
    assert abs((record.starts_at - at).total_seconds()) < 0.001
    assert json.loads(json.dumps(record))["starts_at"] == record["starts_at"]
    assert ct.list_tasks(status="PENDING")[0]["starts_at"] == record["starts_at"]
    assert ct.get_task_result(task) is None
    assert ct.get_result(task.partition(":")[0]).status == ct.status.NEW_OBJECT
    ended = ct.get_task_result(task, wait=True, timeout=120)
    assert ended is not None
    assert ended.result >= at.timestamp()
    assert "starts_at" not in ended
    assert ended.schedule_id is None

    late = ct.enqueue(stamp, str(tmp_path), eta=datetime(2000, 1, 1, tzinfo=timezone.utc))
    assert ct.get_task_result(late, wait=True, timeout=120)["status"] == "COMPLETED"  # type: ignore[index]


@pytest.mark.usefixtures("live")
def test_waiting_for_the_result_of_one_that_waits_is_no_trouble(
    recwarn: pytest.WarningsRecorder, tmp_path: Path
) -> None:
    """`get_result(wait=True)` comes back with the result, without a warning; `start` does not wait for the time."""
    run = ct.dispatch(ct.lattice(stamp), eta=timedelta(seconds=1))(str(tmp_path))
    assert ct.get_result(run, wait=True).status == ct.status.COMPLETED
    early = ct.dispatch(ct.lattice(stamp), eta=timedelta(hours=1))(str(tmp_path))
    assert "starts at" in run_text(early)
    from covalab.sdk.dispatching import api

    assert ct.get_result(api.start(early), wait=True, timeout=120).status == ct.status.COMPLETED
    assert not [str(one.message) for one in recwarn if "not started" in str(one.message)]


def run_text(run: Any) -> str:
    """Return how a dispatch shows itself as text."""
    return str(run._repr_mimebundle_()["text/plain"])


@pytest.mark.usefixtures("own")
def test_a_failed_run_is_followed_by_the_next_and_a_cancel_ends_it(tmp_path: Path) -> None:
    """OmniQ's `interval` as documented: new id each time, at the end of the one before plus the interval."""
    task = ct.enqueue(stamp, str(tmp_path), True, retries=0, interval=timedelta(seconds=0.5))
    first = task.partition(":")[0]
    until(lambda: len(ct.list_dispatches("FAILED", schedule_id=first, count=None)) >= 3)
    assert ct.cancel(first) == f"Dispatch {first} cancelled."
    runs = ct.list_dispatches(schedule_id=first, count=None, latest=False)

    assert [str(run.status) for run in runs[:3]] == ["FAILED"] * 3
    assert str(runs[-1].status) in ("CANCELLED", "FAILED")
    assert len({run.dispatch_id for run in runs}) == len(runs)
    assert {run.schedule_id for run in runs} == {first}
    for before, after in itertools.pairwise(runs):
        assert 0.49 < (after.starts_at - before.completed_at).total_seconds() < 1.5
        assert str(after.status) == "CANCELLED" or after.started_at >= after.starts_at
    ended = ct.list_tasks(first)[0]
    assert (ended["status"], ended["schedule_id"]) == ("FAILED", first)
    n_runs = len(runs)
    time.sleep(1.2)
    assert len(ct.list_dispatches(schedule_id=first, count=None)) == n_runs


def test_a_series_survives_kill_9_between_an_end_and_the_next_start(own: Client, tmp_path: Path) -> None:
    """Neither skipped nor doubled: what was due while nobody was there is one run, when somebody is."""
    run = ct.dispatch(ct.lattice(stamp), interval=1.5)(str(tmp_path))
    ct.get_result(run, wait=True, timeout=120)
    until(lambda: len(own.dispatches(schedule=run)) == 2)
    kill(own)
    time.sleep(4)
    assert len(stamps(tmp_path)) == 1
    began = time.time()
    connect(data_dir=own.data_dir)
    until(lambda: len(stamps(tmp_path)) == 2)
    until(lambda: len(own.dispatches(schedule=run, status=["completed"])) >= 2)

    one, two = stamps(tmp_path)[:2]
    assert one + 1.5 < began <= two
    assert len(stamps(tmp_path)) == 2
    own.cancel(run)


@pytest.mark.usefixtures("live")
def test_a_trigger_starts_what_waits_earlier_and_its_time_starts_nothing_more(tmp_path: Path) -> None:
    """The first firing starts the dispatch, as it starts one that is held; what follows is its own."""
    run = ct.dispatch(ct.lattice(stamp), eta=timedelta(seconds=3))(str(tmp_path))
    trigger = TimeTrigger(1)
    trigger.lattice_dispatch_id = run
    trigger.register()
    until(lambda: len(stamps(tmp_path)) >= 1)
    ct.stop_triggers(run)
    assert ct.get_result(run, wait=True, timeout=120).status == ct.status.COMPLETED
    time.sleep(3.5)

    fired = ct.get_result(run).triggers[0].fired
    assert fired[0] == str(run)
    assert len(stamps(tmp_path)) == len(fired)


@pytest.mark.usefixtures("own")
def test_a_series_of_a_workflow_with_a_sublattice_is_cancelled_as_a_whole(tmp_path: Path) -> None:
    """What runs below it ends with it, nothing of it is listed as a run, and nothing comes after."""

    @ct.lattice
    def inner(folder: str) -> object:
        return stamp(folder)

    @ct.lattice
    def outer(folder: str) -> object:
        return ct.electron(inner)(folder)

    run = ct.dispatch(outer, interval=0.5)(str(tmp_path))
    until(lambda: len(ct.list_dispatches("COMPLETED", schedule_id=run, count=None)) >= 2)
    ct.cancel(run)
    runs = ct.list_dispatches(schedule_id=run, count=None)
    until(lambda: all(one.status in ("COMPLETED", "CANCELLED") for one in ct.list_dispatches(count=None)))
    time.sleep(1)

    assert {one.name for one in runs} == {"outer"}
    assert len(ct.list_dispatches(schedule_id=run, count=None)) == len(runs)


def test_a_dispatcher_does_not_end_while_something_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is attached and nothing runs, for longer than it would be idle: the time still comes."""
    folder = tmp_path / "data"
    monkeypatch.setenv("COVALAB_DATA_DIR", str(folder))
    monkeypatch.setenv("COVALAB_IDLE_SECONDS", "0.5")
    witness = tmp_path / "witness"
    witness.mkdir()
    run = ct.dispatch(ct.lattice(stamp), eta=timedelta(seconds=4))(str(witness))
    pid = connect().status().pid
    time.sleep(3)
    address = find(folder)
    assert address is not None
    assert address.pid == pid
    until(lambda: stamps(witness))
    assert ct.get_result(run, wait=True, timeout=120).status == ct.status.COMPLETED
    until(lambda: find(folder) is None)


@pytest.mark.usefixtures("own")
def test_the_command_line_shows_when_it_starts_and_the_series(tmp_path: Path) -> None:
    """`list`, `show` and `status`; `purge --older-than` forgets by age and nothing else."""
    run = ct.dispatch(ct.lattice(stamp), eta="2999-12-31T12:00:00Z", interval=timedelta(minutes=90))(str(tmp_path))
    done = ct.dispatch(ct.lattice(stamp))(str(tmp_path))
    ct.get_result(done, wait=True, timeout=120)

    def said(*arguments: str) -> str:
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
        return result.output

    assert "starts 2999-12-31" in said("list") or "starts 3000-01-01" in said("list")
    assert said("list", "--schedule", run).count("starts ") == 1
    assert f"{run}, every 1 h 30 min" in said("show", run)
    assert "1 scheduled" in said("status")
    assert json.loads(said("show", run, "--json"))["summary"]["interval"] == 5400
    assert "0 dispatches are forgotten" in said("purge", "--older-than", "1 h", "--yes")
    time.sleep(1.1)
    assert "1 dispatches are forgotten" in said("purge", "--older-than", "1 s", "--yes")
    assert [str(one.dispatch_id) for one in ct.list_dispatches()] == [run]
    assert CliRunner().invoke(main, ["purge", "--older-than", "ages"]).exit_code == 2
    assert CliRunner().invoke(main, ["purge", "--older-than", "1 h", "--hard", "-y"]).exit_code == 2


@pytest.mark.usefixtures("live")
def test_async_enqueue_takes_the_same_words(tmp_path: Path) -> None:
    """Also inside a running loop."""

    async def both() -> str:
        return await ct.async_enqueue(stamp, str(tmp_path), eta=timedelta(hours=1), interval=60, allow_overlap=True)

    task = asyncio.run(both())
    record = ct.get_task(task)
    assert record is not None
    assert record.schedule_id == task.partition(":")[0]
    ct.cancel(record.schedule_id)
    assert ct.get_task(task)["status"] == "CANCELLED"  # type: ignore[index]


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"interval": 0}, GraphError, "above 0"),
        ({"interval": -5}, GraphError, "above 0"),
        ({"interval": timedelta(0)}, GraphError, "above 0"),
        ({"interval": float("nan")}, GraphError, "above 0"),
        ({"interval": float("inf")}, GraphError, "100 years"),
        ({"interval": "60"}, TypeError, "timedelta or seconds"),
        ({"interval": True}, TypeError, "timedelta or seconds"),
        ({"eta": "soon"}, GraphError, "no moment"),
        ({"eta": 60}, GraphError, r"timedelta\(seconds=60\)"),
        ({"eta": 0.3}, GraphError, "by position"),
        ({"eta": float("nan")}, GraphError, "9999"),
        ({"eta": float("inf")}, GraphError, "9999"),
        ({"eta": datetime.max.replace(tzinfo=timezone(timedelta(hours=-12)))}, GraphError, "eta"),
        ({"eta": timedelta(days=4_000_000)}, GraphError, "9999"),
        ({"eta": [1]}, TypeError, "datetime"),
        ({"allow_overlap": True}, GraphError, "give an interval"),
    ],
)
def test_what_has_no_meaning_is_refused_before_anything_is_sent(
    wrong: dict[str, Any], error: type[Exception], words: str
) -> None:
    """The message says what it was, of which function, and what to write."""
    with pytest.raises(error, match=words):
        ct.enqueue(stamp, "/nowhere", **wrong)
    with pytest.raises(error, match="stamp"):
        ct.dispatch(ct.lattice(stamp), **wrong)


def test_two_ways_to_be_started_exclude_each_other() -> None:
    """A time and `disable_run`, a time or an interval and triggers."""
    with pytest.raises(GraphError, match="disable_run"):
        ct.dispatch(ct.lattice(stamp), eta=timedelta(1), disable_run=True)
    for timing in ({"eta": timedelta(1)}, {"interval": 60}):
        with pytest.raises(GraphError, match="triggers"):
            ct.dispatch(ct.lattice(stamp, triggers=TimeTrigger(60)), **timing)


@pytest.mark.parametrize("timezone_of_here", ["America/New_York", "Asia/Tokyo"])
def test_a_naive_datetime_is_local_time(timezone_of_here: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on the wall where the program runs, like ISO texts without a zone."""
    from covalab.sdk.timestamps import eta_of

    monkeypatch.setenv("TZ", timezone_of_here)
    time.tzset()
    try:
        naive = datetime(2030, 6, 1, 12)  # noqa: DTZ001 - it is what is tested
        assert eta_of("here", naive) == eta_of("here", "2030-06-01T12:00:00") == naive.astimezone().timestamp()
        assert eta_of("here", naive) != eta_of("here", "2030-06-01T12:00:00Z")
    finally:
        monkeypatch.undo()
        time.tzset()
