"""Rows to structs and back: every statement that touches a dispatch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

import apsw
import msgspec

from covalab.core.lifecycle import TERMINAL
from covalab.core.model import (
    Attempt,
    Counts,
    Digest,
    DispatchId,
    DispatchSummary,
    Environment,
    Failure,
    Graph,
    NodeState,
    Origin,
    Outcome,
    Schedule,
    Status,
    Submission,
    Value,
)
from covalab.store import trigger_rows

_COLUMNS: Final = (
    "id, name, status, version, created_at, started_at, ended_at, counts, notebook, cell, root, parent_node, error, "
    "held, parent"
)
_SCHEDULE: Final = "starts_at, schedule_id, interval"
_BELOW: Final = "(SELECT count(*) FROM dispatches AS below WHERE below.root = dispatches.id)"
_SUMMARY: Final = f"{_COLUMNS}, {_SCHEDULE}, {_BELOW}"
_encode: Final = msgspec.msgpack.encode


class SubmissionBody(msgspec.Struct, frozen=True):
    """A submission without its graph, as it is stored."""

    values: list[Value]
    code: dict[Digest, bytes]
    environment: Environment
    origin: Origin
    inputs: Value
    lattice: Digest
    source: str
    doc: str
    priority: int = 0
    interventions: Literal["", "planned", "auto"] = ""
    auto_close: bool = True
    schedule: Schedule | None = None


def body_of(submission: Submission) -> SubmissionBody:
    """Return a submission without its graph."""
    return SubmissionBody(
        submission.values,
        submission.code,
        submission.environment,
        submission.origin,
        submission.inputs,
        submission.lattice,
        submission.source,
        submission.doc,
        submission.priority,
        submission.interventions,
        submission.auto_close,
        submission.schedule,
    )


class OutcomeRow(msgspec.Struct, frozen=True):
    """What is recorded of a node beside its state."""

    worker: str
    value: Value | None
    failure: Failure | None
    stdout: str
    stderr: str


def insert_dispatch(connection: apsw.Connection, submission: Submission, summary: DispatchSummary) -> int:
    """Record a submission; returns its key, negative when it was there before."""
    row = connection.execute("SELECT key FROM dispatches WHERE id = ?", (submission.id,)).fetchone()
    if row is not None:
        return -int(row[0])
    connection.execute(
        f"INSERT INTO dispatches ({_COLUMNS}, {_SCHEDULE}) VALUES ({','.join('?' * 18)})",  # noqa: S608 - constant
        _summary_row(summary),
    )
    key = connection.last_insert_rowid()
    encoded = (key, _encode(submission.graph), _encode(body_of(submission)))
    connection.execute("INSERT INTO submissions VALUES (?,?,?)", encoded)
    digests = {value.digest for value in (*submission.values, submission.inputs) if value.digest}
    digests |= {function.digest for function in submission.graph.functions if function.digest not in submission.code}
    for settings in submission.graph.settings:
        digests |= {one for one in (settings.hooks, settings.instance) if one and one not in submission.code}
    if submission.lattice not in submission.code:
        digests.add(submission.lattice)
    use_blobs(connection, key, digests)
    trigger_rows.insert_triggers(connection, key, submission.triggers)
    return key


def _summary_row(summary: DispatchSummary) -> tuple[Any, ...]:
    return (
        summary.id,
        summary.name,
        summary.status,
        summary.version,
        summary.created_at,
        summary.started_at,
        summary.ended_at,
        _encode(summary.counts),
        summary.notebook,
        summary.cell,
        summary.root,
        summary.parent_node,
        summary.error,
        summary.held,
        summary.parent,
        summary.starts_at,
        summary.schedule_id,
        summary.interval,
    )


def use_blobs(connection: apsw.Connection, key: int, digests: Iterable[str]) -> None:
    """Note that a dispatch uses blobs."""
    connection.executemany("INSERT OR IGNORE INTO blob_uses VALUES (?,?)", ((digest, key) for digest in digests))


def update_dispatch(
    connection: apsw.Connection,
    key: int,
    summary: DispatchSummary,
    states: Sequence[NodeState],
    outcomes: Sequence[Outcome],
    *,
    attempts: Sequence[Attempt] = (),
) -> None:
    """Record how far a dispatch has come: its row, the nodes that changed, and how nodes ended.

    `attempts` are runs that were not the last of their node.
    """
    connection.execute(
        "UPDATE dispatches SET status=?, version=?, started_at=?, ended_at=?, counts=?, error=?, held=? WHERE key=?",
        (
            summary.status,
            summary.version,
            summary.started_at,
            summary.ended_at,
            _encode(summary.counts),
            summary.error,
            summary.held,
            key,
        ),
    )
    errors: dict[int, str] = {outcome.node: outcome.failure.type for outcome in outcomes if outcome.failure is not None}
    if summary.counts.skipped:
        why = "dependency" if summary.counts.failed else "cancelled"
        errors |= {state.node: why for state in states if state.status == "skipped"}
    connection.executemany(
        "INSERT INTO nodes VALUES (?,?,?,?,?,?,?) ON CONFLICT (key, node) DO UPDATE SET status=excluded.status, "
        "started_at=excluded.started_at, ended_at=excluded.ended_at, attempt=excluded.attempt, "
        "error_type=excluded.error_type",
        (
            (key, state.node, state.status, state.started_at, state.ended_at, state.attempt, errors.get(state.node))
            for state in states
        ),
    )
    connection.executemany(
        "INSERT OR REPLACE INTO outcomes VALUES (?,?,?,?,?,?,?)",
        (
            (
                key,
                outcome.node,
                outcome.worker,
                None if outcome.value is None else _encode(outcome.value),
                None if outcome.failure is None else _encode(outcome.failure),
                outcome.stdout,
                outcome.stderr,
            )
            for outcome in outcomes
        ),
    )
    connection.executemany(
        "INSERT OR REPLACE INTO attempts VALUES (?,?,?,?,?)",
        ((key, it.outcome.node, it.number, it.next_at, _encode(it.outcome)) for it in attempts),
    )
    digests = [outcome.value.digest for outcome in outcomes if outcome.value is not None and outcome.value.digest]
    if digests:
        use_blobs(connection, key, digests)


def _summary(row: Sequence[Any]) -> DispatchSummary:
    values = list(row)
    values[7] = msgspec.msgpack.decode(values[7], type=Counts)
    values[13] = bool(values[13])
    starts_at, schedule_id, interval, inner = values[15:]
    summary = DispatchSummary(*values[:15])
    return msgspec.structs.replace(
        summary, inner=inner, starts_at=starts_at, schedule_id=schedule_id, interval=interval
    )


def select_dispatch(connection: apsw.Connection, dispatch: str) -> tuple[int, DispatchSummary] | None:
    """Return the key and summary of a dispatch, or None."""
    row = connection.execute(f"SELECT key, {_SUMMARY} FROM dispatches WHERE id = ?", (dispatch,)).fetchone()  # noqa: S608 - constant
    return None if row is None else (int(row[0]), _summary(row[1:]))


def select_dispatches(
    connection: apsw.Connection,
    statuses: Sequence[Status],
    name: str | None,
    offset: int,
    count: int,
    *,
    root: str | None = None,
    since: float = 0.0,
    oldest: bool = False,
    schedule: str | None = None,
) -> list[DispatchSummary]:
    """Return summaries, newest first unless `oldest`: of outermost dispatches, or of those below `root`.

    `schedule` is the id of the series that they are runs of.
    """
    where = ["root IS ?"]
    values: list[Any] = [root]
    if schedule is not None:
        # It has no other order than by key, so the index of the series gives it.
        where = ["+root IS ?", "schedule_id = ?"]
        values.append(schedule)
    if statuses:
        where.append(f"status IN ({','.join('?' * len(statuses))})")
        values += statuses
    if name is not None:
        where.append("name = ?")
        values.append(name)
    if since:
        where.append("created_at >= ?")
        values.append(since)
    order = "ASC" if oldest else "DESC"
    rows = connection.execute(
        f"SELECT {_SUMMARY} FROM dispatches WHERE {' AND '.join(where)} ORDER BY key {order} LIMIT ? OFFSET ?",  # noqa: S608 - only marks
        (*values, count, offset),
    )
    return [_summary(row) for row in rows]


def select_children(connection: apsw.Connection, dispatch: str) -> dict[int, DispatchId]:
    """Return the dispatches that stand for nodes of this one; of a node that was tried again, the last."""
    rows = connection.execute("SELECT parent_node, id FROM dispatches WHERE parent = ? ORDER BY key", (dispatch,))
    return {int(node): DispatchId(child) for node, child in rows}


def select_unfinished(connection: apsw.Connection) -> list[DispatchSummary]:
    """Return the dispatches that have not ended, oldest first."""
    marks = ",".join("?" * len(TERMINAL))
    rows = connection.execute(
        f"SELECT {_SUMMARY} FROM dispatches WHERE status NOT IN ({marks}) ORDER BY key",  # noqa: S608 - only marks
        tuple(TERMINAL),
    )
    return [_summary(row) for row in rows]


def select_graph(connection: apsw.Connection, key: int) -> Graph:
    """Return the graph of a dispatch."""
    row = connection.execute("SELECT graph FROM submissions WHERE key = ?", (key,)).fetchone()
    assert row is not None
    return msgspec.msgpack.decode(row[0], type=Graph)


def select_body(connection: apsw.Connection, key: int) -> SubmissionBody:
    """Return what was submitted beside the graph."""
    row = connection.execute("SELECT rest FROM submissions WHERE key = ?", (key,)).fetchone()
    assert row is not None
    return msgspec.msgpack.decode(row[0], type=SubmissionBody)


def select_states(connection: apsw.Connection, key: int) -> list[NodeState]:
    """Return the recorded states of a dispatch's nodes."""
    rows = connection.execute(
        "SELECT node, status, started_at, ended_at, attempt FROM nodes WHERE key = ? ORDER BY node", (key,)
    )
    return [NodeState(*row) for row in rows]


def select_values(connection: apsw.Connection, key: int, nodes: Iterable[int] | None) -> dict[int, Value]:
    """Return the closed values of nodes (None: of all that have one)."""
    if nodes is None:
        rows = connection.execute("SELECT node, value FROM outcomes WHERE key = ? AND value IS NOT NULL", (key,))
    else:
        rows = connection.execute(
            "SELECT o.node, o.value FROM json_each(?) AS wanted CROSS JOIN outcomes AS o "
            "WHERE o.key = ? AND o.node = wanted.value AND o.value IS NOT NULL",
            (msgspec.json.encode(list(nodes)).decode(), key),
        )
    decoder = msgspec.msgpack.Decoder(Value)
    return {int(node): decoder.decode(value) for node, value in rows}


def select_failures(connection: apsw.Connection, key: int) -> dict[int, Failure]:
    """Return why nodes failed."""
    rows = connection.execute("SELECT node, failure FROM outcomes WHERE key = ? AND failure IS NOT NULL", (key,))
    return {int(node): msgspec.msgpack.decode(failure, type=Failure) for node, failure in rows}


def select_outcome(connection: apsw.Connection, key: int, node: int) -> OutcomeRow | None:
    """Return what is recorded of a node beside its state, or None."""
    row = connection.execute(
        "SELECT worker, value, failure, stdout, stderr FROM outcomes WHERE key = ? AND node = ?", (key, node)
    ).fetchone()
    if row is None:
        return None
    value = None if row[1] is None else msgspec.msgpack.decode(row[1], type=Value)
    failure = None if row[2] is None else msgspec.msgpack.decode(row[2], type=Failure)
    return OutcomeRow(str(row[0]), value, failure, str(row[3]), str(row[4]))


def select_attempts(connection: apsw.Connection, key: int, node: int | None = None) -> dict[int, list[Attempt]]:
    """Return the runs of nodes that were not their last, in order, by node; or those of one node."""
    rows = connection.execute(
        f"SELECT node, attempt, next_at, outcome FROM attempts WHERE key = ?{'' if node is None else ' AND node = ?'} "  # noqa: S608 - constant
        "ORDER BY node, attempt",
        (key,) if node is None else (key, node),
    )
    found: dict[int, list[Attempt]] = {}
    for its_node, number, next_at, outcome in rows:
        attempt = Attempt(int(number), msgspec.msgpack.decode(outcome, type=Outcome), next_at)
        found.setdefault(int(its_node), []).append(attempt)
    return found


def select_unused(connection: apsw.Connection, digests: Iterable[Digest]) -> list[Digest]:
    """Return those of the digests that no dispatch uses."""
    return [
        digest
        for digest in digests
        if connection.execute("SELECT 1 FROM blob_uses WHERE digest = ? LIMIT 1", (digest,)).fetchone() is None
    ]


def select_newest_run(connection: apsw.Connection, series: DispatchId) -> DispatchId | None:
    """Return the id of the newest recorded run of a series, or None."""
    row = connection.execute(
        "SELECT id FROM dispatches WHERE schedule_id = ? ORDER BY key DESC LIMIT 1", (series,)
    ).fetchone()
    return None if row is None else DispatchId(row[0])


def fail_dispatch(connection: apsw.Connection, dispatch: DispatchId, at: float, why: str) -> None:
    """End a dispatch that cannot be taken up again; what is recorded of its nodes stays."""
    connection.execute(
        "UPDATE dispatches SET status='failed', held=0, version=version+1, ended_at=?, error=? WHERE id=?",
        (at, why, dispatch),
    )


def take_over(connection: apsw.Connection, key: int, from_key: int, nodes: Sequence[int], at: float) -> None:
    """Let nodes of a dispatch be complete, with the outputs and prints that another dispatch recorded for them."""
    chosen = msgspec.json.encode(nodes).decode()
    connection.execute(
        "INSERT INTO nodes (key, node, status, started_at, ended_at, attempt) "
        "SELECT ?1, value, 'completed', ?2, ?2, 0 FROM json_each(?3)",
        (key, at, chosen),
    )
    connection.execute(
        "INSERT INTO outcomes (key, node, worker, value, failure, stdout, stderr) "
        "SELECT ?1, o.node, o.worker, o.value, o.failure, o.stdout, o.stderr FROM json_each(?2) AS chosen "
        "CROSS JOIN outcomes AS o WHERE o.key = ?3 AND o.node = chosen.value",
        (key, chosen, from_key),
    )
    values = select_values(connection, key, nodes).values()
    use_blobs(connection, key, {value.digest for value in values if value.digest})


def release(connection: apsw.Connection, dispatch: DispatchId) -> None:
    """Let a dispatch that was held be one that runs."""
    connection.execute("UPDATE dispatches SET held = 0 WHERE id = ?", (dispatch,))


def select_durations(connection: apsw.Connection) -> dict[Digest, float]:
    """Return the mean seconds of the functions that ever ran."""
    return {Digest(function): seconds for function, seconds in connection.execute("SELECT * FROM durations")}


def keep_durations(connection: apsw.Connection, durations: Mapping[Digest, float]) -> None:
    """Record mean seconds by function."""
    if durations:
        connection.executemany("INSERT OR REPLACE INTO durations VALUES (?,?)", durations.items())
