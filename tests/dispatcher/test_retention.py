"""`results.ttl`: the dispatcher itself forgets what ended long ago, and nothing else."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.dispatcher.clock import Clock, wake
from tests.dispatcher.test_schedules import ended, submission
from tests.system.tasks import adding
from tests.waiting import until

import covalab as ct
from covalab.client import Client
from covalab.core.errors import MissingLatticeRecordError
from covalab.core.schedule import run_id
from covalab.dispatcher.retention import ttl
from covalab.sdk.building.submit import prepare

DAY = 86_400.0


@pytest.fixture
def clock(clock: Clock) -> Clock:
    """Return a clock that begins now: ends are told by the clock of the wall."""
    clock.move(time.time() - clock.now)
    return clock


@ct.electron
def large(letter: str) -> str:
    """Return something that is a file of its own."""
    return letter * 100_000


@ct.lattice
def inner(letter: str) -> object:
    """One task."""
    return large(letter)


@ct.lattice
def outer(letter: str) -> object:
    """Something with a dispatch below it."""
    return ct.electron(inner)(letter)


def is_gone(client: Client, dispatch: str) -> bool:
    """Whether there is no such dispatch."""
    try:
        client.summary(dispatch)
    except MissingLatticeRecordError:
        return True
    return False


def test_what_ended_long_ago_is_forgotten_at_the_start(
    clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its sublattices and values; what has not ended, and a series, stay. Without a setting nothing goes."""
    client = clock.start()
    old = client.submit(prepare(outer, ("a",), {}, client.blobs)).id
    assert ended(client, old).inner == 1
    waiting = client.submit(submission(client, tmp_path, starts_at=clock.now + 100 * DAY)).id
    held = client.submit(submission(client, tmp_path, hold=True)).id
    first = client.submit(submission(client, tmp_path, interval=50 * DAY)).id
    ended(client, first)
    until(lambda: len(client.dispatches(schedule=first)) == 2)
    clock.move(2 * DAY)
    clock.kill()
    client = clock.start()
    wake(client)
    assert client.summary(old).status == "completed"
    clock.kill()

    monkeypatch.setenv("COVALAB_RESULTS_TTL", "1 day")
    client = clock.start()
    until(lambda: is_gone(client, old) and is_gone(client, first))
    assert client.dispatches(root=old) == []
    assert [client.summary(one).held for one in (waiting, held)] == [True, True]
    assert [one.id for one in client.dispatches(schedule=first)] == [run_id(first, 2)]
    clock.move(50 * DAY)
    client.submit(prepare(ct.lattice(adding), (1,), {}, client.blobs))
    until(lambda: len(client.dispatches(schedule=first)) == 2)


def test_what_ended_long_ago_is_forgotten_now_and_then(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dispatcher that goes on for days looks again at least once an hour; not before the time is over."""
    monkeypatch.setenv("COVALAB_RESULTS_TTL", str(DAY))
    client = clock.start()
    run = client.submit(prepare(ct.lattice(large), ("a",), {}, client.blobs)).id
    ended(client, run)
    clock.move(DAY - 3600)
    wake(client)
    assert not is_gone(client, run)
    clock.move(3600 + 300)
    wake(client)
    until(lambda: is_gone(client, run))


def test_a_setting_that_is_no_length_of_time_forgets_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The dispatcher serves, and its log says what to mend."""
    monkeypatch.setenv("COVALAB_RESULTS_TTL", "a while")

    assert ttl() is None
    assert "'a while' is no length of time above zero" in caplog.text
    monkeypatch.setenv("COVALAB_RESULTS_TTL", "2 h")
    assert ttl() == 7200
