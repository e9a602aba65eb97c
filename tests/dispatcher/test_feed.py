"""Who waits is woken, nothing is told twice, nothing stays behind."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from covalab.core.model import Counts, DispatchId, DispatchSummary
from covalab.dispatcher.feed import _KEPT, Feed


def summary(name: str, version: int = 1) -> DispatchSummary:
    """Return where a dispatch stands."""
    return DispatchSummary(DispatchId(name), name, "running", version, 1.0, None, None, Counts())


def test_changes_are_told_once_oldest_first() -> None:
    """Each dispatch as it stands now, however often it changed."""
    feed = Feed(100)
    for name, version in (("a", 1), ("b", 1), ("a", 2)):
        feed.publish(summary(name, version))

    assert feed.since(100) == [summary("b"), summary("a", 2)]
    assert feed.since(102) == [summary("a", 2)]
    assert feed.since(feed.number) == []


def test_a_number_of_another_life_gets_everything() -> None:
    """A reader whose number is ahead of ours was told it by somebody else."""
    feed = Feed(100)
    feed.publish(summary("a"))

    assert feed.since(10**15) == [summary("a")]


def test_what_was_deleted_is_not_told() -> None:
    """It is gone."""
    feed = Feed(0)
    feed.publish(summary("a"))
    feed.forget(DispatchId("a"))
    feed.forget(DispatchId("never there"))

    assert feed.since(0) == []


def test_memory_is_bounded() -> None:
    """The oldest changes are forgotten."""
    feed = Feed(0)
    for n in range(_KEPT + 10):
        feed.publish(summary(f"d{n}"))

    assert len(feed.since(0)) == _KEPT


def test_who_waits_is_woken_by_the_right_dispatch() -> None:
    """By its own, or by any; and not by another."""

    async def main() -> tuple[bool, bool, bool]:
        feed = Feed(0)
        own, other, anyone = (
            asyncio.create_task(feed.wait(DispatchId(name) if name else None, 0.2)) for name in ("a", "b", "")
        )
        await asyncio.sleep(0)
        feed.publish(summary("a"))
        return await own, await other, await anyone

    assert asyncio.run(main()) == (True, False, True)


def test_nobody_who_waited_stays_behind() -> None:
    """Woken, timed out or cancelled: no trace is left."""

    async def main() -> Feed:
        feed = Feed(0)
        await feed.wait(DispatchId("a"), 0.0)
        cancelled = asyncio.create_task(feed.wait(DispatchId("b"), None))
        woken = asyncio.create_task(feed.wait(DispatchId("c"), None))
        await asyncio.sleep(0)
        cancelled.cancel()
        feed.publish(summary("c"))
        with suppress(asyncio.CancelledError):
            await cancelled
        await woken
        return feed

    assert asyncio.run(main())._waiting == {}
