"""Notices about pools without a worker."""

from __future__ import annotations

import pytest

from covalab.core.dispatcher_status import PoolStatus
from covalab.core.pool_notice import NOTICE_SECONDS, START_SECONDS, notice

NOW = 1000.0


@pytest.mark.parametrize(
    ("pool", "text"),
    [
        (PoolStatus("python", "up", 1, waits_since=None), ""),
        (PoolStatus("python", "up", 0, waits_since=NOW - NOTICE_SECONDS + 1), ""),
        (
            PoolStatus("python", "up", 0, waits_since=NOW - NOTICE_SECONDS),
            "a worker of the cluster of python: there is no",
        ),
        (
            PoolStatus("python", "up", 0, waits_since=0.0, where="tcp://a:1"),
            "a worker of tcp://a:1: there is none since",
        ),
        (PoolStatus("python", "up", 0, waits_since=0.0, unfit={"w": "old"}), "none that can be used since"),
        (PoolStatus("python", "up", 0, waits_since=0.0, unfit={"w": "old"}), "w: old"),
        (PoolStatus("python", "up", 0, waits_since=0.0, unfit=dict.fromkeys("abcde", "old")), "c: old; 2 more"),
        (PoolStatus("python", "starting", 0, waits_since=NOW - NOTICE_SECONDS), ""),
        (PoolStatus("python", "starting", 0, waits_since=NOW - START_SECONDS, message="no room"), "starting since"),
        (PoolStatus("python", "starting", 0, waits_since=NOW - START_SECONDS, message="no room"), "(no room)"),
        (PoolStatus("python", "failed", 0, waits_since=0.0), ""),  # its nodes fail
    ],
)
def test_a_pool_without_a_worker_is_noticed_after_a_while(pool: PoolStatus, text: str) -> None:
    """The notice names the cluster, since when it has no worker, and why those that are there are not used."""
    assert text in notice(pool, NOW)
    assert bool(notice(pool, NOW)) == bool(text)
