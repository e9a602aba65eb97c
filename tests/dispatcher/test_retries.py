"""Waiting for the next run: the dispatcher waits, no worker does, and a power cut changes nothing about it."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.dispatcher.clock import Clock, wake
from tests.system.tasks import adding
from tests.waiting import until

import covalab as ct
from covalab.blobs import BlobStore
from covalab.client import Client
from covalab.core.model import NodeDetail, RetryPolicy
from covalab.dispatcher.running import RunningDispatch, summary_of
from covalab.sdk.building.submit import prepare

pytestmark = pytest.mark.sampled(3, of="file")


@ct.electron
def fails_until(witness: str, n_runs: int) -> int:
    """Fail until the n-th run."""
    with open(witness, "a") as file:  # noqa: PTH123
        file.write("run\n")
    n = len(Path(witness).read_text().split())
    if n < n_runs:
        message = f"run {n} fails"
        raise ConnectionError(message)
    return n


def submit(client: Client, function: Any, args: tuple[Any, ...], retries: int, policy: RetryPolicy) -> str:
    """Dispatch one electron with a policy."""
    submission = prepare(ct.lattice(function), args, {}, client.blobs)
    graph = submission.graph
    settings = [msgspec.structs.replace(it, retries=retries, retry=policy) for it in graph.settings]
    submission = msgspec.structs.replace(submission, graph=msgspec.structs.replace(graph, settings=settings))
    return str(client.submit(submission).id)


def node_of(client: Client, dispatch: str) -> NodeDetail:
    """Return what is known of the only electron."""
    return client.node(dispatch, 0)


def has_failed(client: Client, dispatch: str, n_times: int) -> bool:
    """Whether so many runs of the only electron have failed and it is to run again."""
    return len(node_of(client, dispatch).attempts) == n_times


def test_a_wait_survives_a_power_cut_neither_skipped_nor_begun_anew(clock: Clock, tmp_path: Path) -> None:
    """Ten seconds into a wait of thirty the dispatcher is killed; the run comes when the thirty are over."""
    witness = tmp_path / "witness"
    client = clock.start()
    dispatch = submit(client, fails_until, (str(witness), 2), 1, RetryPolicy(delay=30, jitter=0))
    until(lambda: node_of(client, dispatch).next_at)
    detail = node_of(client, dispatch)
    assert (detail.status, detail.attempt, detail.next_at) == ("pending", 1, clock.now + 30)

    clock.move(10)
    clock.kill()
    client = clock.start()
    wake(client)
    assert node_of(client, dispatch).next_at == clock.now + 20

    clock.move(19)
    wake(client)
    assert witness.read_text() == "run\n"

    clock.move(1)
    wake(client)
    record = client.record(dispatch, wait=True, timeout=120)
    assert record.summary.status == "completed"
    assert witness.read_text() == "run\nrun\n"
    detail = node_of(client, dispatch)
    assert (detail.attempt, detail.next_at) == (2, None)
    assert [(it.number, it.outcome.status, it.next_at) for it in detail.attempts] == [(1, "failed", 1_000_030.0)]


def test_a_clock_that_is_set_back_a_day_does_not_delay_a_retry(clock: Clock, tmp_path: Path) -> None:
    """A wait is a number of seconds, whatever the clock says meanwhile; before these have passed nothing runs."""
    witness = tmp_path / "witness"
    client = clock.start()
    dispatch = submit(client, fails_until, (str(witness), 2), 1, RetryPolicy(delay=30, jitter=0))
    until(lambda: node_of(client, dispatch).next_at)

    clock.set(clock.now - 24 * 3600)
    wake(client)
    clock.move(29)
    wake(client)
    assert witness.read_text() == "run\n"

    clock.move(1)
    wake(client)
    assert client.record(dispatch, wait=True, timeout=120).summary.status == "completed"
    assert witness.read_text() == "run\nrun\n"


def test_budgets_are_exact_although_the_dispatcher_is_killed_between_the_runs(clock: Clock, tmp_path: Path) -> None:
    """Failures are counted on the disk: N retries stay N + 1 runs, and only the last one is a failure to be seen."""
    witness, retries = tmp_path / "witness", 2
    client = clock.start()
    dispatch = submit(client, fails_until, (str(witness), 99), retries, RetryPolicy(delay=5, jitter=0))
    for n_failed in range(1, retries + 1):
        until(partial(has_failed, client, dispatch, n_failed))
        assert client.summary(dispatch).status == "running"
        clock.kill()
        clock.move(100)
        client = clock.start()
    record = client.record(dispatch, wait=True, timeout=120)

    assert record.summary.status == "failed"
    assert len(witness.read_text().split()) == retries + 1
    detail = node_of(client, dispatch)
    assert detail.attempt == retries + 1
    assert [it.number for it in detail.attempts] == list(range(1, retries + 1))
    assert all("fails" in it.outcome.stderr for it in detail.attempts)


def test_a_node_that_waits_occupies_no_worker(clock: Clock, tmp_path: Path) -> None:
    """While more nodes wait than there are workers, others run; a cancel ends the waiting at once."""
    client = clock.start()
    witnesses = [str(tmp_path / f"witness-{n}") for n in range(6)]
    policy = RetryPolicy(delay=3600)
    waiting = [submit(client, fails_until, (witness, 99), 1, policy) for witness in witnesses]
    until(lambda: all(node_of(client, dispatch).next_at for dispatch in waiting))

    wake(client)

    for dispatch in waiting:
        assert client.cancel(dispatch).status == "cancelled"
    assert [len(Path(witness).read_text().split()) for witness in witnesses] == [1] * 6


def test_what_is_not_listed_is_not_run_again(clock: Clock, tmp_path: Path) -> None:
    """A class among the bases of the exception is enough; another one is not."""
    client = clock.start()
    expected = {"OSError": "completed", "ValueError": "failed", "timeout": "failed"}
    for on, status in expected.items():
        policy = RetryPolicy((on,), delay=0)
        dispatch = submit(client, fails_until, (str(tmp_path / on), 2), 2, policy)
        assert client.record(dispatch, wait=True, timeout=120).summary.status == status, on


def test_losses_are_counted_on_the_disk(clock: Clock, tmp_path: Path) -> None:
    """A task that kills its worker is blamed after as many losses, although the dispatcher was killed in between."""
    witness = tmp_path / "witness"

    @ct.electron
    def dies(witness: str) -> None:
        with open(witness, "a") as file:  # noqa: PTH123
            file.write("run\n")
        os._exit(1)

    client = clock.start()
    dispatch = submit(client, dies, (str(witness),), 0, RetryPolicy())
    until(lambda: len(node_of(client, dispatch).attempts) >= 2)
    clock.kill()
    client = clock.start()
    record = client.record(dispatch, wait=True, timeout=120)

    assert record.summary.status == "failed"
    # One more if the cut came in the middle of a run, and two that may take the word that they began down with them,
    # before each of the two dispatchers' counting.
    assert 4 <= len(witness.read_text().split()) <= 9
    assert [it.outcome.failure.type for it in node_of(client, dispatch).attempts if it.outcome.failure] == [
        "worker_lost"
    ] * 3


def test_who_takes_the_word_that_it_began_down_with_it_is_blamed_in_the_end(tmp_path: Path) -> None:
    """Lost twice before anything was heard of it is bad luck; from the third time on the batch is suspected."""
    submission = prepare(ct.lattice(adding), (1,), {}, BlobStore(tmp_path))
    run = RunningDispatch(1, summary_of(submission, 0.0), submission)

    assert [run.seems_to_begin(0) for _ in range(4)] == [False, False, True, True]
    assert not run.seems_to_begin(1)
