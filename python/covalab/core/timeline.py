"""Timeline of a dispatch: where its nodes ran, and their runs that were not their last. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

import msgspec

from covalab.core.dispatch_list import short
from covalab.core.model import Attempt, Failure, Status

MOST_REASONS: Final = 2_000


class EarlierRun(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One run of a node that was not its last. `worker` is a position in `Timeline.workers`, -1: not known."""

    node: int
    worker: int
    started_at: float
    ended_at: float
    status: Status


class Timeline(msgspec.Struct, frozen=True):
    """Workers of a dispatch, and which of them ran or runs which node; when is in the states of the nodes.

    `places` are pairs of a node and a position in `workers`, `reasons` of a node and why it failed, in short.
    """

    workers: list[str]
    places: list[tuple[int, int]]
    earlier: list[EarlierRun]
    reasons: list[tuple[int, str]] = []


def timeline(
    ended: Sequence[tuple[int, str]],
    running: Mapping[int, str],
    attempts: Mapping[int, Sequence[Attempt]],
    failures: Mapping[int, Failure] = MappingProxyType({}),
) -> Timeline:
    """Return the timeline of nodes with their workers' names, those that ended and those that run, and earlier runs.

    `failures` are why nodes failed; of very many, the first are in it.
    """
    positions: dict[str, int] = {}

    def position(worker: str) -> int:
        return positions.setdefault(worker, len(positions)) if worker else -1

    places = [(node, position(worker)) for node, worker in {**dict(ended), **running}.items() if worker]
    earlier = [
        EarlierRun(
            it.outcome.node, position(it.outcome.worker), it.outcome.started_at, it.outcome.ended_at, it.outcome.status
        )
        for its in attempts.values()
        for it in its
    ]
    reasons = [(node, short(failure.reason)) for node, failure in sorted(failures.items())[:MOST_REASONS]]
    return Timeline(list(positions), places, earlier, reasons)
