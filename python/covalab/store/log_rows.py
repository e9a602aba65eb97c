"""Rows for the log of a dispatch: what single runs printed, read one after the other."""

from __future__ import annotations

from typing import Any, NamedTuple

import apsw
import msgspec

from covalab.core.model import Outcome
from covalab.store.dispatch_rows import OutcomeRow, outcome_row


class EarlierRun(NamedTuple):
    """When a run was that was not the last of its node, and when the next may begin."""

    node: int
    number: int
    started_at: float
    ended_at: float
    next_at: float | None


def select_earlier_runs(connection: apsw.Connection, key: int) -> list[EarlierRun]:
    """Return when the runs of a dispatch were that were not the last of their node, without what they printed."""
    decoder = msgspec.msgpack.Decoder(Outcome)
    found: list[EarlierRun] = []
    for node, number, next_at, data in connection.execute(
        "SELECT node, attempt, next_at, outcome FROM attempts WHERE key = ? ORDER BY node, attempt", (key,)
    ):
        outcome = decoder.decode(data)
        found.append(EarlierRun(int(node), int(number), outcome.started_at, outcome.ended_at, next_at))
    return found


def select_earlier_outcome(connection: apsw.Connection, key: int, node: int, number: int) -> Outcome | None:
    """Return how a run ended that was not the last of its node."""
    row: Any = connection.execute(
        "SELECT outcome FROM attempts WHERE key = ? AND node = ? AND attempt = ?", (key, node, number)
    ).fetchone()
    return None if row is None else msgspec.msgpack.decode(row[0], type=Outcome)


def select_printed(connection: apsw.Connection, key: int, node: int) -> OutcomeRow | None:
    """Return the recorded outcome of a node without its value and its outputs."""
    row = connection.execute(
        "SELECT worker, NULL, failure, stdout, stderr, NULL, reuse, times FROM outcomes WHERE key = ? AND node = ?",
        (key, node),
    ).fetchone()
    return None if row is None else outcome_row(row)
