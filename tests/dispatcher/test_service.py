"""What is decided when things go wrong at the wrong moment: nobody waits for ever, and the right one is blamed."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
import time
from pathlib import Path

import msgspec
import pytest
from tests.system.tasks import adding, sleeping
from tests.waiting import until

import covalab as ct
from covalab.client import Client
from covalab.client.launcher import find
from covalab.core.codec import encode
from covalab.core.errors import TakenOver
from covalab.core.model import DispatchSummary, NodeDetail
from covalab.dispatcher.pools import Pools
from covalab.dispatcher.running import RunningDispatch
from covalab.dispatcher.service import Service
from covalab.sdk.building.submit import prepare
from covalab.store import Store
from covalab.store.pages import connect as connect_database


def kill(client: Client) -> None:
    """End a dispatcher as a power cut would."""
    address = find(client.data_dir)
    assert address is not None
    os.kill(address.pid, signal.SIGKILL)
    until(lambda: find(client.data_dir) is None)


@ct.electron
def slow_or_quick(x: int, folder: str) -> int:
    """Say that it began; then the first goes on until it is told to end."""
    (Path(folder) / f"began-{x}-{time.time_ns()}").touch()
    while not x and not (Path(folder) / "go").exists():
        time.sleep(0.01)
    return x


@ct.lattice
def pair(folder: str) -> object:
    """Two that may travel together."""
    return [slow_or_quick(x, folder) for x in range(2)]


def test_a_batch_that_is_cancelled_as_it_begins_does_not_keep_its_worker(own: Client, tmp_path: Path) -> None:
    """Whenever the cancel comes, the workers are free for the next dispatch."""
    assert ct.dispatch_sync(ct.lattice(adding))(1).result == 2
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    choose = random.Random(seed)
    for _ in range(12):
        dispatch = ct.dispatch(ct.lattice(sleeping))(600, str(tmp_path / "pid"))
        time.sleep(choose.random() * 0.03)
        own.cancel(dispatch)

    assert ct.get_result(ct.dispatch(ct.lattice(adding))(2), wait=True, timeout=120).result == 3


@pytest.mark.nightly
def test_a_task_that_takes_the_pool_down_is_blamed_in_the_end(own: Client) -> None:
    """It does not take pool after pool down for ever, and its dispatch says why."""

    @ct.electron
    def ends_the_session() -> None:
        os.killpg(0, signal.SIGKILL)

    dispatch = ct.dispatch(ct.lattice(ends_the_session))()
    result = ct.get_result(dispatch, wait=True, timeout=100)

    assert result.status == ct.status.FAILED
    failure = own.node(dispatch, 0).failure
    assert failure is not None
    assert failure.type == "worker_lost"
    assert ct.dispatch_sync(ct.lattice(adding))(1).result == 2


def test_what_a_worker_took_down_with_it_is_no_retry(own: Client, tmp_path: Path) -> None:
    """A task that lost its worker once still has all of its retries."""

    @ct.electron(retries=1)
    def unlucky(witness: str) -> int:
        with open(witness, "a") as file:  # noqa: PTH123
            file.write("run\n")
        n = len(Path(witness).read_text().split())
        if n == 1:
            os._exit(1)
        if n == 2:
            message = "the one that may be repeated"
            raise ValueError(message)
        return n

    assert ct.dispatch_sync(ct.lattice(unlucky))(str(tmp_path / "witness")).result == 3


def test_cancelling_one_node_blames_no_other(own: Client, tmp_path: Path) -> None:
    """Its neighbour runs to its end, and was never suspected of killing the worker."""
    dispatch = ct.dispatch(pair)(str(tmp_path))
    until(lambda: list(tmp_path.glob("began-0-*")))
    node = next(n for n, node in enumerate(own.graph(dispatch).nodes) if node.name == "slow_or_quick" and n)
    own.cancel(dispatch, [node])
    (tmp_path / "go").touch()
    result = ct.get_result(dispatch, wait=True, timeout=120)

    details: list[NodeDetail] = [own.node(dispatch, number) for number in (0, node)]
    assert details[0].status == "completed"
    assert details[1].status in ("cancelled", "completed")
    assert str(result.status) in ("CANCELLED", "COMPLETED")


def test_one_dispatch_that_cannot_be_resumed_stops_no_other(own: Client, tmp_path: Path) -> None:
    """It fails with a word about why; the dispatcher comes up and the others go on."""
    ids = [ct.dispatch(ct.lattice(sleeping))(600, str(tmp_path / f"pid{n}")) for n in range(2)]
    kill(own)
    database = connect_database(own.data_dir / "covalab.db")
    database.execute(
        "UPDATE submissions SET submission = x'c1' WHERE key = (SELECT key FROM dispatches WHERE id = ?)", (ids[0],)
    )
    database.close()

    assert own.summary(ids[1]).status in ("pending", "running")
    ended = own.summary(ids[0])
    assert ended.status == "failed"
    assert "could not be resumed" in ended.error
    own.cancel(ids[1])


@ct.lattice
def asking() -> object:
    """Wait for a person, which needs no worker."""
    return ct.pause_for("approval")


def test_one_dispatch_that_hits_a_bug_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dispatch whose time has come begins, although applying the facts of another one failed in the same turn."""
    monkeypatch.setattr(Pools, "of", lambda *_: None)

    async def dispatch() -> DispatchSummary:
        store = Store(tmp_path / "covalab.db")
        service = Service(tmp_path, store)
        submissions = [prepare(asking, (), {}, service.blobs) for _ in range(2)]
        broken, _ = await service.submit(submissions[0])
        outcomes, loop = service._loop._outcomes, service._loop
        apply, begin = outcomes.apply, loop.begin

        def apply_or_fail(run: RunningDispatch) -> None:
            assert run.id != broken.id, "on purpose"
            apply(run)

        def begin_beside_the_broken_one(run: RunningDispatch) -> None:
            begin(run)
            service.registry.mark_changed(service.runs[broken.id])

        monkeypatch.setattr(outcomes, "apply", apply_or_fail)
        monkeypatch.setattr(loop, "begin", begin_beside_the_broken_one)
        waiting, _ = await service.submit(msgspec.structs.replace(submissions[1], starts_at=time.time() + 0.1))
        assert waiting.held
        await service.feed.wait(waiting.id, 10)
        _, summary = await service.recorded(waiting.id)
        await service.stop()
        store.close()
        return summary

    assert asyncio.run(dispatch()).status == "running"


def test_who_was_overtaken_ends(own: Client) -> None:
    """A dispatcher that finds another one's epoch in the database tells nothing more, and goes."""
    address = find(own.data_dir)
    assert address is not None
    database = connect_database(own.data_dir / "covalab.db")
    database.execute("UPDATE meta SET value = value + 1 WHERE key = 'epoch'")
    database.close()
    with pytest.raises(TakenOver, match=f"epoch {address.epoch}"):
        ct.dispatch(ct.lattice(adding))(1)

    until(lambda: find(own.data_dir) is None)
    assert ct.dispatch_sync(ct.lattice(adding))(1).result == 2


def test_what_no_dispatch_uses_is_removed_at_the_next_start(own: Client) -> None:
    """Values whose submission never came, and halves of values, do not stay for ever; what is used or new does."""
    old, young = own.blobs.put(encode("o" * 100_000)), own.blobs.put(encode("y" * 100_000))
    half = own.blobs.path(young).with_name(f".{young}.half")
    half.touch()
    for path in (own.blobs.path(old), half):
        os.utime(path, (0, 0))
    used = ct.dispatch(ct.lattice(adding))(10**100_000)
    ct.get_result(used, wait=True)
    for digest in own.blobs.digests():
        if digest not in (old, young):
            os.utime(own.blobs.path(digest), (0, 0))
    kill(own)
    own.status()

    until(lambda: old not in own.blobs and not half.exists())
    assert young in own.blobs
    assert ct.get_result(used).result == 10**100_000 + 1


def test_ten_thousand_digits_are_no_trouble() -> None:
    """The limit that Python sets on printing integers is not a limit on values."""
    assert sys.get_int_max_str_digits() < 10_000
    assert ct.dispatch_sync(ct.lattice(adding))(10**10_000).result == 10**10_000 + 1


def test_a_recovery_is_a_restart_and_no_great_number_of_changes(own: Client, tmp_path: Path) -> None:
    """Starting what was held is none, nor are 600,000 runs; each dispatcher that takes a dispatch up is one."""
    held = ct.dispatch(ct.lattice(adding), disable_run=True)(1)
    own.start_held(held)
    assert ct.get_result(held, wait=True).result == 2
    running = ct.dispatch(ct.lattice(sleeping))(600, str(tmp_path / "pid"))
    kill(own)
    database = connect_database(own.data_dir / "covalab.db")
    database.execute("UPDATE dispatches SET version = 1200001 WHERE id = ?", (held,))
    database.close()

    assert [ct.get_result(one).get_meta()["recovered_count"] for one in (held, running)] == [0, 1]
    kill(own)
    assert own.summary(running).recovered == 2
    own.cancel(running)
