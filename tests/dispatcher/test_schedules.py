"""What waits for its time, and what runs again and again, by a clock that stands still until it is moved."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent import futures
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.dispatcher.clock import Clock, wake
from tests.system.tasks import adding
from tests.waiting import until

import covalab as ct
from covalab.client import Client
from covalab.core.errors import GraphError, MissingLatticeRecordError
from covalab.core.model import DispatchId, DispatchSummary, Schedule, Submission
from covalab.core.schedule import run_id
from covalab.sdk.building.submit import prepare
from covalab.store.pages import connect as connect_database

pytestmark = pytest.mark.sampled(3, of="file")

INTERVAL = 60.0


@ct.electron
def noting(folder: str, seconds: float = 0.0, *, fails: bool = False) -> int:
    """Leave a file for the run, and another when it ends; go on until it is told to end, if it is to take long."""
    mark = Path(folder) / f"began-{time.time_ns()}"
    mark.touch()
    while seconds and not (Path(folder) / "go").exists():
        time.sleep(0.01)
    if fails:
        message = "on purpose"
        raise ValueError(message)
    return 1


def n_began(folder: Path) -> int:
    """Count the runs."""
    return len(list(folder.glob("began-*")))


def submission(
    client: Client,
    folder: Path,
    *,
    starts_at: float | None = None,
    interval: float | None = None,
    allow_overlap: bool = False,
    arguments: tuple[Any, ...] = (),
    **changes: Any,
) -> Submission:
    """Return a dispatch of one electron that waits, or repeats itself, or both."""
    made = prepare(ct.lattice(noting), (str(folder), *arguments), changes.pop("kwargs", {}), client.blobs)
    schedule = None if interval is None else Schedule(made.id, interval, allow_overlap)
    return msgspec.structs.replace(made, starts_at=starts_at, schedule=schedule, **changes)


def series(client: Client, first: str) -> list[DispatchSummary]:
    """Return the runs of a series, oldest first."""
    return client.dispatches(schedule=first, oldest=True)


def ended(client: Client, dispatch: str) -> DispatchSummary:
    """Return a dispatch when it has ended."""
    return client.record(dispatch, wait=True, timeout=120).summary


def test_a_dispatch_waits_for_its_time_through_a_power_cut_and_occupies_no_worker(clock: Clock, tmp_path: Path) -> None:
    """Not before, not skipped, not twice; meanwhile it is pending and held, and others run."""
    client = clock.start()
    run = client.submit(submission(client, tmp_path, starts_at=clock.now + 30))
    assert (run.status, run.held, run.starts_at) == ("pending", True, clock.now + 30)
    assert client.status().scheduled == 1
    for _ in range(2):
        clock.move(10)
        clock.kill()
        client = clock.start()
        assert client.status().scheduled == 1
    clock.move(9)
    wake(client)
    assert n_began(tmp_path) == 0
    assert client.summary(run.id).held

    clock.move(1)
    wake(client)
    assert ended(client, run.id).status == "completed"
    clock.move(3600)
    clock.kill()
    client = clock.start()
    wake(client)
    assert n_began(tmp_path) == 1
    assert client.status().scheduled == 0


def test_a_time_in_the_past_is_now(clock: Clock, tmp_path: Path) -> None:
    """Whether it is past when it is sent, or while no dispatcher runs."""
    client = clock.start()
    at_once = client.submit(submission(client, tmp_path, starts_at=clock.now - 5))
    assert not at_once.held
    missed = client.submit(submission(client, tmp_path, starts_at=clock.now + 5))
    clock.kill()
    clock.move(1000)
    client = clock.start()

    assert ended(client, at_once.id).status == ended(client, missed.id).status == "completed"
    assert n_began(tmp_path) == 2


def test_what_waits_can_be_started_cancelled_and_deleted(clock: Clock, tmp_path: Path) -> None:
    """Started it runs once; cancelled it never began; deleted it is gone; when its time comes nothing follows."""
    client = clock.start()
    sent = [submission(client, tmp_path, starts_at=clock.now + 30) for _ in range(3)]
    early, cancelled, deleted = [client.submit(one).id for one in sent]
    assert client.submit(sent[0]).held  # a request that is sent again changes nothing

    client.start_held(early)
    assert ended(client, early).status == "completed"
    with pytest.raises(GraphError, match="cancelled as a whole"):
        client.cancel(cancelled, [0])
    assert client.cancel(cancelled).status == "cancelled"
    client.delete(deleted)
    clock.move(60)
    wake(client)
    clock.kill()
    client = clock.start()
    wake(client)

    summary = client.summary(cancelled)
    assert (summary.status, summary.held, summary.counts.cancelled) == ("cancelled", False, 1)
    assert client.node(cancelled, 0).status == "cancelled"
    with pytest.raises(MissingLatticeRecordError):
        client.summary(deleted)
    assert n_began(tmp_path) == 1


@pytest.mark.parametrize("fails", [False, True])
def test_the_next_run_comes_an_interval_after_the_end_whatever_that_was(
    clock: Clock, tmp_path: Path, fails: bool
) -> None:
    """Each is a dispatch of its own with a new id, linked by the id of the first; it is recorded with the end."""
    client = clock.start()
    first = client.submit(submission(client, tmp_path, interval=INTERVAL, kwargs={"fails": fails})).id
    for number in range(1, 4):
        its_id = run_id(first, number)
        assert ended(client, its_id).status == ("failed" if fails else "completed")
        *before, waiting = series(client, first)
        assert len(before) == number
        assert waiting.id == run_id(first, number + 1)
        assert (waiting.held, waiting.starts_at, waiting.interval) == (True, clock.now + INTERVAL, INTERVAL)
        assert {one.schedule_id for one in (*before, waiting)} == {first}
        clock.move(INTERVAL - 1)
        wake(client)
        assert n_began(tmp_path) == number
        clock.move(1)
        wake(client)
    assert ended(client, run_id(first, 4)).ended_at
    assert n_began(tmp_path) == 4


def test_runs_never_overlap_unless_they_may(clock: Clock, tmp_path: Path) -> None:
    """While one goes on nothing waits, however late it is; where they may, the next follows from the start."""
    client = clock.start()
    alone = client.submit(submission(client, tmp_path, interval=INTERVAL, arguments=(60.0,))).id
    until(lambda: n_began(tmp_path) == 1)
    clock.move(10 * INTERVAL)
    wake(client)
    assert [one.id for one in series(client, alone)] == [alone]
    assert client.status().scheduled == 0

    other = tmp_path / "other"
    other.mkdir()
    both = client.submit(submission(client, other, interval=INTERVAL, allow_overlap=True, arguments=(60.0,))).id
    (second,) = [one for one in series(client, both) if one.held]
    assert second.starts_at == clock.now + INTERVAL
    client.cancel(alone)
    until(lambda: n_began(other) == 1)
    clock.move(INTERVAL)
    until(lambda: wake_free(client) or n_began(other) == 2)
    third = next(one for one in series(client, both) if one.held)
    assert (third.id, third.starts_at) == (run_id(both, 3), clock.now + INTERVAL)

    (other / "go").touch()
    assert [ended(client, run_id(both, number)).status for number in (1, 2)] == ["completed"] * 2
    assert len(series(client, both)) == 3  # the end of an overlapping run is followed by nothing
    client.cancel(both)
    assert client.summary(third.id).status == "cancelled"


def wake_free(client: Client) -> bool:
    """Let the dispatcher look at its clock, also while all workers are busy."""
    at = client.submit(prepare(ct.lattice(adding), (1,), {}, client.blobs))
    client.cancel(at.id)
    return False


def test_missed_runs_collapse_to_one(clock: Clock, tmp_path: Path) -> None:
    """A week without a dispatcher is one run, at once, and the next an interval later; also where runs may overlap."""
    client = clock.start()
    sent = [submission(client, tmp_path, interval=INTERVAL, allow_overlap=overlap) for overlap in (False, True)]
    ids = [client.submit(one).id for one in sent]
    for one in ids:
        ended(client, one)
    until(lambda: all(len(series(client, one)) == 2 for one in ids))
    clock.kill()
    clock.move(7 * 86_400)
    client = clock.start()
    for one in ids:
        ended(client, run_id(one, 2))
    until(lambda: all(len(series(client, one)) == 3 for one in ids))
    wake(client)

    assert n_began(tmp_path) == 4
    assert [series(client, one)[-1].starts_at for one in ids] == [clock.now + INTERVAL] * 2


def test_a_cancel_ends_the_series_whichever_run_it_names(clock: Clock, tmp_path: Path) -> None:
    """The one that runs, the one that waits, or one that has ended: nothing more comes."""
    client = clock.start()
    running = client.submit(submission(client, tmp_path, interval=INTERVAL, arguments=(60.0,))).id
    until(lambda: n_began(tmp_path) == 1)
    assert client.cancel(running).status == "cancelled"

    waiting = client.submit(submission(client, tmp_path, interval=INTERVAL)).id
    ended(client, waiting)
    assert client.cancel(run_id(waiting, 2)).status == "cancelled"

    over = client.submit(submission(client, tmp_path, interval=INTERVAL)).id
    ended(client, over)
    assert client.cancel(over).status == "completed"
    held = client.submit(submission(client, tmp_path, interval=INTERVAL, hold=True)).id
    client.cancel(held)

    n_runs = n_began(tmp_path)
    for _ in range(2):
        clock.move(3 * INTERVAL)
        wake(client)
        clock.kill()
        client = clock.start()
        wake(client)
    statuses = [[one.status for one in series(client, first)] for first in (running, waiting, over, held)]
    assert statuses == [["cancelled"], ["completed", "cancelled"], ["completed", "cancelled"], ["cancelled"]]
    assert n_began(tmp_path) == n_runs
    assert client.status().scheduled == 0


def test_a_cancel_by_the_id_of_an_ended_run_ends_the_one_that_goes_on(clock: Clock, tmp_path: Path) -> None:
    """Who has the first id only can still end a series whose second run is at a worker."""
    client = clock.start()
    (tmp_path / "go").touch()
    first = client.submit(submission(client, tmp_path, interval=INTERVAL, arguments=(60.0,))).id
    ended(client, first)
    (tmp_path / "go").unlink()
    clock.move(INTERVAL)
    wake(client)
    until(lambda: n_began(tmp_path) == 2)

    client.cancel(first)
    assert ended(client, run_id(first, 2)).status == "cancelled"
    assert [one.status for one in series(client, first)] == ["completed", "cancelled"]


def test_deleting_ended_runs_leaves_the_series_alone(clock: Clock, tmp_path: Path) -> None:
    """Each run has all that it needs; the first may be gone when the third runs."""
    client = clock.start()
    first = client.submit(submission(client, tmp_path, interval=INTERVAL)).id
    ended(client, first)
    client.delete(first)
    clock.move(INTERVAL)
    wake(client)
    ended(client, run_id(first, 2))
    assert client.purge(time.time() + 1) >= 1
    clock.kill()
    clock.move(INTERVAL)
    client = clock.start()
    wake(client)

    assert ended(client, run_id(first, 3)).status == "completed"
    assert [one.id for one in series(client, first)] == [run_id(first, number) for number in (3, 4)]


def test_the_same_series_is_not_begun_again_while_some_of_it_is_there(clock: Clock, tmp_path: Path) -> None:
    """A `task_key` that was used stands for the newest run, although the first is deleted."""
    client = clock.start()
    sent = submission(client, tmp_path, interval=INTERVAL)
    first = client.submit(sent).id
    ended(client, first)
    client.delete(first)

    assert client.submit(sent).id == run_id(first, 2)
    assert len(series(client, first)) == 1


def test_a_held_series_begins_when_it_is_started_and_a_redispatch_is_no_part_of_it(
    clock: Clock, tmp_path: Path
) -> None:
    """`disable_run` holds only the first; what is run again by hand is a dispatch of its own."""
    client = clock.start()
    first = client.submit(submission(client, tmp_path, interval=INTERVAL, hold=True)).id
    clock.move(10 * INTERVAL)
    wake(client)
    assert n_began(tmp_path) == 0
    client.start_held(first)
    ended(client, first)
    assert len(series(client, first)) == 2

    again = client.redispatch(run_id(first, 2), DispatchId("again"))
    assert (again.schedule_id, again.starts_at, again.held) == (None, None, False)
    assert ended(client, again.id).status == "completed"
    assert len(series(client, first)) == 2


def test_who_waits_for_one_that_is_deleted_hears_of_it(clock: Clock, tmp_path: Path) -> None:
    """It will never run, and a reader that was held open until its end is told so."""
    client = clock.start()
    run = client.submit(submission(client, tmp_path, starts_at=clock.now + 30)).id
    with futures.ThreadPoolExecutor(1) as pool:
        reading = pool.submit(client.record, run, wait=True)
        assert futures.wait([reading], timeout=0.5).not_done
        client.delete(run)
        with pytest.raises(MissingLatticeRecordError):
            reading.result(30)


def test_a_run_that_cannot_be_started_is_told_and_the_next_comes(clock: Clock, tmp_path: Path) -> None:
    """If what was recorded cannot be read, its dispatch says so; nothing is left that waits for ever."""
    client = clock.start()
    lost = client.submit(submission(client, tmp_path, starts_at=clock.now + 5)).id
    clock.kill()
    database = connect_database(clock.data / "covalab.db")
    database.execute(
        "UPDATE submissions SET submission = x'c1' WHERE key = (SELECT key FROM dispatches WHERE id = ?)", (lost,)
    )
    database.close()
    clock.move(10)
    client = clock.start()

    until(lambda: client.dispatches()[0].status == "failed")
    summary = client.dispatches()[0]
    assert "could not be started" in summary.error
    assert not summary.held
    assert client.status().scheduled == 0


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"interval": 0.0}, "interval"),
        ({"interval": -1.0}, "interval"),
        ({"interval": float("nan")}, "interval"),
        ({"interval": 1e12}, "interval"),
        ({"starts_at": float("nan")}, "starts_at"),
        ({"starts_at": 1e15}, "starts_at"),
        ({"starts_at": 1e10, "hold": True}, "disable_run"),
        ({"schedule": Schedule(DispatchId("other"), 5.0)}, "first run"),
    ],
)
def test_what_has_no_meaning_is_refused_by_the_dispatcher_too(
    clock: Clock, tmp_path: Path, wrong: dict[str, Any], words: str
) -> None:
    """Whoever sends it: nothing is recorded."""
    client = clock.start()
    sent = submission(client, tmp_path, **{key: wrong[key] for key in wrong if key != "schedule"})
    if "schedule" in wrong:
        sent = msgspec.structs.replace(sent, schedule=wrong["schedule"])

    with pytest.raises(Exception, match=words):
        client.submit(sent)
    assert client.dispatches() == []


def test_killed_at_any_moment_no_run_is_lost_or_doubled(clock: Clock, tmp_path: Path) -> None:
    """`kill -9` again and again, between an end and a start as well: numbers and ids have no gap."""
    client = clock.start()
    first = client.submit(submission(client, tmp_path, interval=INTERVAL)).id
    pause = 0.0
    for number in range(1, 5):
        there: Callable[[], bool] = lambda: client.summary(run_id(first, number)).status in ("running", "completed")  # noqa: B023, E731
        until(there)
        time.sleep(pause)
        pause += 0.03
        clock.kill()
        client = clock.start()
        assert ended(client, run_id(first, number)).status == "completed"
        clock.kill()
        clock.move(INTERVAL)
        client = clock.start()
        runs = series(client, first)
        assert [one.id for one in runs] == [run_id(first, it + 1) for it in range(number + 1)]
        wake(client)
