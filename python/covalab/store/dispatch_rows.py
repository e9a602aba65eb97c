"""Rows of dispatches: submissions, summaries, node states, outcomes and attempts as structs, and back.

The columns are the fields of the structs: a field that is added there needs a migration and nothing here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import apsw
import msgspec

from covalab.core.comparison import Output, output_of
from covalab.core.dispatch_list import SummaryQuery
from covalab.core.errors import DataFolderError
from covalab.core.graph_state import value_node
from covalab.core.lifecycle import TERMINAL
from covalab.core.model import (
    Attempt,
    Counts,
    Digest,
    DispatchId,
    DispatchSummary,
    Failure,
    Graph,
    NodeState,
    Outcome,
    Reuse,
    Submission,
    TextTime,
    Value,
)
from covalab.core.requests import TagsRequest
from covalab.store import trigger_rows
from covalab.store.seals import Seal, seal_dispatch, seal_of

_encode: Final = msgspec.msgpack.encode

_LIVE: Final = ("waiting", "paused", "notice", "progress")
"""Fields of a summary that only a running dispatch has."""

_COUNTED: Final = {"inner": "(SELECT count(*) FROM dispatches AS below WHERE below.root = dispatches.id)"}
"""Fields of a summary that follow from other rows."""

_FIELDS: Final = tuple(name for name in DispatchSummary.__struct_fields__ if name not in _LIVE)
_COLUMNS: Final = tuple(name for name in _FIELDS if name not in _COUNTED)
_CHANGING: Final = ("status", "version", "started_at", "ended_at", "counts", "error", "held")

HAS_TAG: Final = "EXISTS (SELECT 1 FROM json_each(dispatches.tags) WHERE value = ?)"
"""Condition on a tag, whose value is the next parameter."""

_OUTCOME: Final = "worker, value, failure, stdout, stderr, outputs, reuse, times"
_ENDED: Final = ", ".join(f"'{status}'" for status in sorted(TERMINAL))
_SUMMARY: Final = ", ".join(_COUNTED.get(name, name) for name in _FIELDS)
_NAMES: Final = ", ".join(_COLUMNS)
_MARKS: Final = ", ".join(f":{name}" for name in _COLUMNS)
_CHANGES: Final = ", ".join(f"{name} = :{name}" for name in _CHANGING)


class _GraphOfSubmission(msgspec.Struct, frozen=True):
    """A submission of which only the graph is decoded."""

    graph: Graph


class OutcomeRow(msgspec.Struct, frozen=True):
    """The recorded outcome of a node, without what its state says."""

    worker: str
    value: Value | None
    failure: Failure | None
    stdout: str
    stderr: str
    outputs: Value | None = None
    reuse: Reuse | None = None
    times: tuple[TextTime, ...] | None = None


def insert_dispatch(
    connection: apsw.Connection, submission: Submission, summary: DispatchSummary, *, encoded: bytes | None = None
) -> tuple[int, bool]:
    """Record a submission, unless its id is recorded. Returns the key of its dispatch, and whether it is new.

    `encoded` is the submission in msgpack, as it came in a request: it is stored as it is, and not encoded once more.
    """
    row = connection.execute("SELECT key FROM dispatches WHERE id = ?", (submission.id,)).fetchone()
    if row is not None:
        return int(row[0]), False
    connection.execute(
        f"INSERT INTO dispatches ({_NAMES}, value_node) VALUES ({_MARKS}, :value_node)",
        _values_of(summary, _COLUMNS) | {"value_node": _value_node(submission.graph)},
    )
    key = connection.last_insert_rowid()
    # `graph` and `rest` are what schema 10 stored instead, and may not be null.
    stored = _encode(submission) if encoded is None else encoded
    seal = seal_of(connection)("s", key, submission.id, stored, b"", b"")
    connection.execute(
        "INSERT INTO submissions (key, graph, rest, submission, seal) VALUES (?, x'', x'', ?, ?)", (key, stored, seal)
    )
    use_blobs(connection, key, blobs_of(submission))
    trigger_rows.insert_triggers(connection, key, submission.triggers)
    return key, True


def _value_node(graph: Graph) -> int:
    """Return the node whose value is the result; -1: it has none, or is put together from several."""
    try:
        return value_node(graph) if graph.output >= 0 else -1
    except StopIteration:  # an output that nothing enters
        return -1


def insert_dispatches(
    connection: apsw.Connection, submissions: Iterable[tuple[Submission, DispatchSummary]]
) -> dict[DispatchId, int]:
    """Record submissions. Returns the keys of the dispatches that are new."""
    keys: dict[DispatchId, int] = {}
    for submission, summary in submissions:
        key, is_new = insert_dispatch(connection, submission, summary)
        if is_new:
            keys[submission.id] = key
    return keys


def _values_of(summary: DispatchSummary, names: Iterable[str]) -> dict[str, Any]:
    """Return fields of a summary as SQLite takes them."""
    tags = msgspec.json.encode(summary.tags).decode()
    return {name: getattr(summary, name) for name in names} | {"counts": _encode(summary.counts), "tags": tags}


def blobs_of(submission: Submission) -> set[Digest]:
    """Return the blobs that a submission names: long values, and the code that is not inside it."""
    code = [function.digest for function in submission.graph.functions]
    for settings in submission.graph.settings:
        code += [settings.hooks, settings.instance]
    code += [submission.lattice, submission.local_modules]
    if submission.notebook is not None:
        code.append(Digest(submission.notebook.document))
    digests = {value.digest for value in (*submission.values, submission.inputs) if value.digest}
    return digests | {digest for digest in code if digest and digest not in submission.code}


def use_blobs(connection: apsw.Connection, key: int, digests: Iterable[str]) -> None:
    """Record that a dispatch uses blobs."""
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
        f"UPDATE dispatches SET {_CHANGES} WHERE key = :key",
        _values_of(summary, _CHANGING) | {"key": key},
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
    seal = seal_of(connection)
    connection.executemany(
        "INSERT OR REPLACE INTO outcomes VALUES (?,?,?,?,?,?,?,?,?,?,?)",
        (_outcome_columns(key, outcome, seal) for outcome in outcomes),
    )
    connection.executemany(
        "INSERT OR REPLACE INTO attempts VALUES (?,?,?,?,?,?)", (_attempt_columns(key, it, seal) for it in attempts)
    )
    values = [value for outcome in outcomes for value in (outcome.value, outcome.outputs) if value is not None]
    values += [it.outcome.outputs for it in attempts if it.outcome.outputs is not None]
    failures = [outcome.failure for outcome in outcomes if outcome.failure is not None]
    values += [failure.left for failure in failures if failure.left is not None]
    digests = [digest for value in values for digest in value.blobs]
    if digests:
        use_blobs(connection, key, digests)


def _outcome_columns(key: int, outcome: Outcome, seal: Seal) -> tuple[Any, ...]:
    """Return the row of an outcome."""
    value = None if outcome.value is None else _encode(outcome.value)
    failure = None if outcome.failure is None else _encode(outcome.failure)
    outputs = None if outcome.outputs is None else _encode(outcome.outputs)
    return (
        key,
        outcome.node,
        outcome.worker,
        value,
        failure,
        outcome.stdout,
        outcome.stderr,
        outputs,
        None if outcome.reuse is None else _encode(outcome.reuse),
        seal("o", key, outcome.node, value, failure, outputs),
        None if outcome.times is None else _encode(outcome.times),
    )


def _attempt_columns(key: int, attempt: Attempt, seal: Seal) -> tuple[Any, ...]:
    """Return the row of a run that was not the last of its node."""
    node, outcome = attempt.outcome.node, _encode(attempt.outcome)
    return key, node, attempt.number, attempt.next_at, outcome, seal("a", key, node, attempt.number, outcome)


def _summary(row: Sequence[Any]) -> DispatchSummary:
    """Return a summary from the columns `_SUMMARY`."""
    values = dict(zip(_FIELDS, row, strict=True))
    counts = msgspec.msgpack.decode(values["counts"], type=Counts)
    tags = msgspec.json.decode(values["tags"], type=list[str])
    return DispatchSummary(**values | {"counts": counts, "held": bool(values["held"]), "tags": tags})


def select_summaries(
    connection: apsw.Connection, which: str, values: Sequence[Any]
) -> list[tuple[int, DispatchSummary]]:
    """Return the keys and summaries that the rest of a statement chooses, in its order."""
    rows = connection.execute(f"SELECT key, {_SUMMARY} FROM dispatches {which}", values)
    return [(int(row[0]), _summary(row[1:])) for row in rows]


def select_dispatch(connection: apsw.Connection, dispatch: str) -> tuple[int, DispatchSummary] | None:
    """Return the key and summary of a dispatch, or None."""
    row = connection.execute(f"SELECT key, {_SUMMARY} FROM dispatches WHERE id = ?", (dispatch,)).fetchone()
    return None if row is None else (int(row[0]), _summary(row[1:]))


def select_dispatches(connection: apsw.Connection, query: SummaryQuery) -> list[DispatchSummary]:
    """Return the summaries that are asked for."""
    where = ["root IS ?"]
    values: list[Any] = [query.root]
    if query.prefix:
        # A range, which the index of ids gives; `LIKE` would take `_` for any sign.
        where, values = ["id >= ?", "id < ?"], [query.prefix, query.prefix + chr(sys.maxunicode)]
    elif query.schedule is not None:
        # It has no other order than by key, so the index of the series gives it.
        where = ["+root IS ?", "schedule_id = ?"]
        values.append(query.schedule)
    if query.statuses:
        where.append(f"status IN ({','.join('?' * len(query.statuses))})")
        values += query.statuses
    if query.name is not None:
        where.append("name = ?")
        values.append(query.name)
    if query.tag is not None:
        where.append(HAS_TAG)
        values.append(query.tag)
    if query.since:
        where.append("created_at >= ?")
        values.append(query.since)
    order = "ASC" if query.oldest else "DESC"
    rows = connection.execute(
        f"SELECT {_SUMMARY} FROM dispatches WHERE {' AND '.join(where)} ORDER BY key {order} LIMIT ? OFFSET ?",
        (*values, query.count, query.offset),
    )
    return [_summary(row) for row in rows]


def select_children(connection: apsw.Connection, dispatch: str) -> dict[int, DispatchId]:
    """Return the child dispatches of a dispatch, by node; of a node that ran several times, the last."""
    rows = connection.execute("SELECT parent_node, id FROM dispatches WHERE parent = ? ORDER BY key", (dispatch,))
    return {int(node): DispatchId(child) for node, child in rows}


def select_unfinished(connection: apsw.Connection) -> list[DispatchSummary]:
    """Return the dispatches that have not ended, oldest first."""
    rows = connection.execute(f"SELECT {_SUMMARY} FROM dispatches WHERE status NOT IN ({_ENDED}) ORDER BY key")
    return [_summary(row) for row in rows]


def count_recovery(connection: apsw.Connection, version_gap: int) -> None:
    """Count a recovery for each dispatch that runs, in its row, and raise its version by a gap.

    Versions that were published and not recorded before the restart are in the gap: they are not published again.
    """
    connection.execute(
        "UPDATE dispatches SET recovered = recovered + 1, version = version + ? "
        f"WHERE status NOT IN ({_ENDED}) AND held = 0",
        (version_gap,),
    )


def decode_graph(submission: bytes | None, graph: bytes) -> Graph:
    """Return the graph of a row of `submissions`, from its columns of these names."""
    if submission is None:  # recorded with schema 10
        return msgspec.msgpack.decode(graph, type=Graph)
    return msgspec.msgpack.decode(submission, type=_GraphOfSubmission).graph


def select_graph(connection: apsw.Connection, key: int) -> Graph:
    """Return the graph of a dispatch."""
    row = connection.execute("SELECT submission, graph FROM submissions WHERE key = ?", (key,)).fetchone()
    if row is None:
        raise _lost(connection, key)
    return decode_graph(*row)


def _lost(connection: apsw.Connection, key: int) -> DataFolderError:
    """Return the error of a dispatch of which the database has lost what was submitted."""
    dispatch, error = connection.execute("SELECT id, error FROM dispatches WHERE key = ?", (key,)).fetchone() or (
        "",
        "",
    )
    return DataFolderError(f"dispatch {dispatch} cannot be read: {error}")


def select_submission(connection: apsw.Connection, key: int) -> Submission:
    """Return what was submitted, as it was recorded: id, place, start and tags are those of the dispatch's row.

    Of one that was recorded with schema 10, `reuse`, `reuse_strict`, `replaced`, `triggers` and `again` are not known.

    Raises
    ------
    DataFolderError
        If it was in a part of the database that is damaged.
    """
    row: Any = connection.execute(
        "SELECT submission, graph, rest, id, root, parent, parent_node, held, starts_at, tags "
        "FROM submissions JOIN dispatches USING (key) WHERE key = ?",
        (key,),
    ).fetchone()
    if row is None:
        raise _lost(connection, key)
    encoded, graph, rest, dispatch, root, parent, parent_node, held, starts_at, tags = row
    if encoded is None:
        # Schema 10 stored the graph alone, and in `rest` what else it kept, under the names of the fields.
        parts = msgspec.msgpack.decode(rest, type=dict[str, msgspec.Raw])
        encoded = _encode({**parts, "id": dispatch, "graph": msgspec.Raw(graph)})
    # A request may have been changed before it was recorded, and is stored as it came: the columns are right.
    return msgspec.structs.replace(
        msgspec.msgpack.decode(encoded, type=Submission),
        id=DispatchId(dispatch),
        root=root,
        parent=parent,
        parent_node=parent_node,
        hold=bool(held),
        starts_at=starts_at,
        tags=msgspec.json.decode(tags, type=list[str]),
    )


def select_states(connection: apsw.Connection, key: int) -> list[NodeState]:
    """Return the recorded states of a dispatch's nodes."""
    rows = connection.execute(
        "SELECT node, status, started_at, ended_at, attempt FROM nodes WHERE key = ? ORDER BY node", (key,)
    )
    return [NodeState(*row) for row in rows]


def select_values(connection: apsw.Connection, key: int, nodes: Iterable[int] | None) -> dict[int, Value]:
    """Return the serialized values of nodes (None: of all that have one)."""
    if nodes is None:
        rows = connection.execute("SELECT node, value FROM outcomes WHERE key = ? AND value IS NOT NULL", (key,))
    else:
        # One statement for any number of nodes; `CROSS JOIN` makes it a search for each, and no pass over all outcomes.
        rows = connection.execute(
            "SELECT o.node, o.value FROM json_each(?) AS wanted CROSS JOIN outcomes AS o "
            "WHERE o.key = ? AND o.node = wanted.value AND o.value IS NOT NULL",
            (msgspec.json.encode(list(nodes)).decode(), key),
        )
    decoder = msgspec.msgpack.Decoder(Value)
    return {int(node): decoder.decode(value) for node, value in rows}


def select_outputs_in_short(connection: apsw.Connection, key: int) -> dict[int, Output]:
    """Return the values of all nodes in short, reading one after the other: together they may be larger than memory."""
    rows = connection.execute("SELECT node, value FROM outcomes WHERE key = ? AND value IS NOT NULL", (key,))
    decoder = msgspec.msgpack.Decoder(Value)
    return {int(node): output_of(decoder.decode(value)) for node, value in rows}


def select_failures(connection: apsw.Connection, key: int) -> dict[int, Failure]:
    """Return the failures of a dispatch, by node."""
    rows = connection.execute("SELECT node, failure FROM outcomes WHERE key = ? AND failure IS NOT NULL", (key,))
    return {int(node): msgspec.msgpack.decode(failure, type=Failure) for node, failure in rows}


def select_reuse(connection: apsw.Connection, key: int) -> dict[int, Reuse]:
    """Return what is known about the reuse of nodes, of those that take part in it."""
    rows = connection.execute("SELECT node, reuse FROM outcomes WHERE key = ? AND reuse IS NOT NULL", (key,))
    return {int(node): msgspec.msgpack.decode(reuse, type=Reuse) for node, reuse in rows}


def select_outcome(connection: apsw.Connection, key: int, node: int) -> OutcomeRow | None:
    """Return the recorded outcome of a node, or None."""
    row = connection.execute(f"SELECT {_OUTCOME} FROM outcomes WHERE key = ? AND node = ?", (key, node)).fetchone()
    return None if row is None else outcome_row(row)


def select_outcomes(connection: apsw.Connection, key: int) -> dict[int, OutcomeRow]:
    """Return the recorded outcomes of all nodes that printed or displayed something or failed, without their values."""
    rows = connection.execute(
        "SELECT node, worker, NULL, failure, stdout, stderr, outputs, NULL, NULL FROM outcomes WHERE key = ? "
        "AND (outputs IS NOT NULL OR failure IS NOT NULL OR stdout <> '' OR stderr <> '') ORDER BY node",
        (key,),
    )
    return {int(row[0]): outcome_row(row[1:]) for row in rows}


def outcome_row(row: Sequence[Any]) -> OutcomeRow:
    """Return an outcome from the columns that its fields name."""
    worker, value, failure, stdout, stderr, outputs, reuse, times = row
    return OutcomeRow(
        worker=str(worker),
        value=None if value is None else msgspec.msgpack.decode(value, type=Value),
        failure=None if failure is None else msgspec.msgpack.decode(failure, type=Failure),
        stdout=str(stdout),
        stderr=str(stderr),
        outputs=None if outputs is None else msgspec.msgpack.decode(outputs, type=Value),
        reuse=None if reuse is None else msgspec.msgpack.decode(reuse, type=Reuse),
        times=None if times is None else msgspec.msgpack.decode(times, type=tuple[TextTime, ...]),
    )


def select_workers(connection: apsw.Connection, key: int) -> list[tuple[int, str]]:
    """Return the nodes that ended and the workers that they ran on."""
    return list(connection.execute("SELECT node, worker FROM outcomes WHERE key = ? ORDER BY node", (key,)))


def select_attempts(connection: apsw.Connection, key: int, node: int | None = None) -> dict[int, list[Attempt]]:
    """Return the runs of nodes that were not their last, in order, by node; or those of one node."""
    rows = connection.execute(
        f"SELECT node, attempt, next_at, outcome FROM attempts WHERE key = ?{'' if node is None else ' AND node = ?'} "
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
    """Record that a dispatch failed, because it cannot be taken up again; the rows of its nodes stay."""
    connection.execute(
        "UPDATE dispatches SET status='failed', held=0, version=version+1, ended_at=?, error=? WHERE id=?",
        (at, why, dispatch),
    )


def take_over(connection: apsw.Connection, key: int, from_key: int, nodes: Sequence[int], at: float) -> None:
    """Complete nodes of a dispatch with the values and the output that another dispatch recorded for them."""
    chosen = msgspec.json.encode(nodes).decode()
    connection.execute(
        "INSERT INTO nodes (key, node, status, started_at, ended_at, attempt) "
        "SELECT ?1, value, 'completed', ?2, ?2, 0 FROM json_each(?3)",
        (key, at, chosen),
    )
    connection.execute(
        "INSERT INTO outcomes (key, node, worker, value, failure, stdout, stderr, outputs, times) "
        "SELECT ?1, o.node, o.worker, o.value, o.failure, o.stdout, o.stderr, o.outputs, o.times "
        "FROM json_each(?2) AS chosen "
        "CROSS JOIN outcomes AS o WHERE o.key = ?3 AND o.node = chosen.value",
        (key, chosen, from_key),
    )
    taken = connection.execute(
        "SELECT value, outputs FROM outcomes WHERE key = ? AND node IN (SELECT value FROM json_each(?))", (key, chosen)
    )
    values = [msgspec.msgpack.decode(one, type=Value) for row in taken for one in row if isinstance(one, bytes)]
    use_blobs(connection, key, {digest for value in values for digest in value.blobs})
    seal_dispatch(connection, key)


def change_tags(connection: apsw.Connection, key: int, change: TagsRequest) -> list[str]:
    """Add tags to a dispatch and remove some; returns those that it has then."""
    (tags,) = connection.execute("SELECT tags FROM dispatches WHERE key = ?", (key,)).fetchone() or ("[]",)
    known = dict.fromkeys([*msgspec.json.decode(tags, type=list[str]), *change.add])
    left = [tag for tag in known if tag not in change.remove]
    connection.execute(
        "UPDATE dispatches SET tags = ?, version = version + 1 WHERE key = ?", (msgspec.json.encode(left).decode(), key)
    )
    return left


def release(connection: apsw.Connection, dispatch: DispatchId) -> None:
    """Record that a dispatch is held no longer."""
    connection.execute("UPDATE dispatches SET held = 0 WHERE id = ?", (dispatch,))


def select_durations(connection: apsw.Connection) -> dict[Digest, float]:
    """Return the mean seconds of the functions that ever ran."""
    return {Digest(function): seconds for function, seconds in connection.execute("SELECT * FROM durations")}


def keep_durations(connection: apsw.Connection, durations: Mapping[Digest, float]) -> None:
    """Record mean seconds by function."""
    if durations:
        connection.executemany("INSERT OR REPLACE INTO durations VALUES (?,?)", durations.items())
