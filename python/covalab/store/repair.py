"""Repair of a damaged database: a new one is made of all rows that are whole, and says what is missing.

The damaged files are kept. A dispatch of which something is missing says so in its error; a value that is missing
fails its node with type "storage", so that a redispatch that reuses what there is makes it again.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec

from covalab.core.errors import DataFolderError
from covalab.core.lifecycle import TERMINAL
from covalab.core.model import Counts, Failure, Graph, Outcome, Submission, Value, does_work
from covalab.store import dispatch_rows
from covalab.store.pages import connect
from covalab.store.salvage import Row, Salvaged, salvage
from covalab.store.schema import migrate

_log = logging.getLogger("covalab.dispatcher")
_TABLES: Final = (
    "meta", "dispatches", "submissions", "nodes", "outcomes", "attempts",
    "journal", "triggers", "firings", "durations", "blob_uses",
)  # fmt: skip
_SHOWN: Final = 20


def kept_copies(path: Path) -> list[Path]:
    """Return the folders in which a database is kept as it was when it was found damaged."""
    return sorted((path.parent / "damaged").glob("database-*"))


def keep_aside(path: Path) -> Path:
    """Copy a database with what belongs to it to a folder of its own, and return that."""
    at = time.strftime("database-%Y-%m-%dT%H-%M-%S")
    folder = path.parent / "damaged" / at
    number = 1
    while folder.exists():
        number += 1
        folder = folder.with_name(f"{at}-{number}")
    folder.parent.mkdir(mode=0o700, exist_ok=True)
    folder.mkdir(mode=0o700)
    for file in path.parent.glob(f"{path.name}*"):
        if not file.name.endswith("-shm"):
            shutil.copy2(file, folder / file.name)
    return folder


def rebuild(path: Path, bad: list[int], kept: Path) -> None:
    """Make a database anew from the rows of its whole pages.

    Parameters
    ----------
    path
        The database; nobody has it open.
    bad
        Its damaged pages.
    kept
        Where it is kept as it was.
    """
    found = salvage(path)
    new = path.with_name(f"{path.name}.new")
    for left in (new, new.with_name(f"{new.name}-wal")):
        left.unlink(missing_ok=True)
    connection = connect(new)
    try:
        migrate(connection)
        with connection:
            for table in _TABLES:
                _insert(connection, table, found.tables.get(table, []))
            # Another dispatcher that was frozen must not find its own number.
            connection.execute("INSERT OR IGNORE INTO meta VALUES ('epoch', ?)", (int(time.time()),))
            damage = _Damage(connection, kept)
            damage.look(found)
    finally:
        connection.close()
    fd = os.open(new, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
    for ending in ("-wal", "-shm"):
        path.with_name(f"{path.name}{ending}").unlink(missing_ok=True)
    new.replace(path)
    _log.error(
        "%d pages of %s were damaged (%s); it was made anew from the others, and is kept as it was in %s. %s",
        len(bad),
        path,
        ", ".join(map(str, bad[:_SHOWN])),
        kept,
        damage.text,
    )


def _insert(connection: apsw.Connection, table: str, rows: list[Row]) -> None:
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    for row in rows:
        # A column that was added later is not in older rows. The number of a row is null where a column stands for it.
        fields = list(row.fields)
        if table in ("dispatches", "submissions"):
            fields[0] = row.rowid
        with suppress(apsw.Error):  # a row that an orphaned page has too, or that misses what must be there
            names = ", ".join(columns[: len(fields)])
            marks = ", ".join("?" * len(fields))
            connection.execute(f"INSERT OR IGNORE INTO {table} ({names}) VALUES ({marks})", fields)


def _blobs_in(outcomes: Iterable[tuple[bytes | None, bytes | None, bytes | None]]) -> set[str]:
    """Return the blobs that outcomes need: rows of value, failure and outputs."""
    values = [data for value, _, outputs in outcomes for data in (value, outputs) if data is not None]
    return {digest for data in values for digest in msgspec.msgpack.decode(data, type=Value).blobs}


class _Damage:
    """Damage of the dispatches: each is compared with its graph."""

    def __init__(self, connection: apsw.Connection, kept: Path) -> None:
        self._connection = connection
        self._kept = kept
        self._at = time.time()
        self._named: list[str] = []
        self._may_miss_ids = False

    @property
    def text(self) -> str:
        """Text for people that names every loss."""
        if not self._named and not self._may_miss_ids:
            return "No dispatch misses anything."
        unknown = "\nDispatches of which nothing is in a whole page cannot be named." if self._may_miss_ids else ""
        return "\n  ".join(["Damaged:", *self._named]) + unknown

    def look(self, found: Salvaged) -> None:
        """Compare every dispatch with its graph."""
        self._may_miss_ids = found.may_miss_ids
        known: dict[int, str] = dict(self._select("SELECT key, id FROM dispatches"))
        submissions = {key for (key,) in self._select("SELECT key FROM submissions")}
        for key in sorted({*submissions, *found.ids} - known.keys()):
            self._insert_stub(key, found.ids.get(key, ""))
        for key, dispatch, status in self._select("SELECT key, id, status FROM dispatches"):
            submission = self._submission(key)
            if submission is None:
                self._fail(key, dispatch, "what was submitted")
                continue
            dispatch_rows.use_blobs(self._connection, key, dispatch_rows.blobs_of(submission))
            self._look_at(key, dispatch, status, submission.graph)
        with suppress(apsw.Error):
            self._connection.execute("DELETE FROM blob_uses WHERE key NOT IN (SELECT key FROM dispatches)")

    def _select(self, statement: str, *values: Any) -> list[Any]:
        return self._connection.execute(statement, values).fetchall()

    def _submission(self, key: int) -> Submission | None:
        with suppress(DataFolderError, msgspec.MsgspecError):
            return dispatch_rows.select_submission(self._connection, key)
        return None

    def _insert_stub(self, key: int, dispatch: str) -> None:
        """Insert the row of a dispatch of which that is lost."""
        name, root, parent, parent_node, held = dispatch, None, None, -1, False
        row = self._select("SELECT submission FROM submissions WHERE key = ?", key)
        submission: Submission | None = None
        with suppress(msgspec.MsgspecError, TypeError, IndexError):
            submission = msgspec.msgpack.decode(row[0][0], type=Submission)
            name, root, parent = submission.graph.name, submission.root, submission.parent
            parent_node, held, dispatch = submission.parent_node, submission.hold, submission.id
        if not dispatch:
            return
        began = self._select("SELECT min(started_at), max(ended_at), count(*) FROM nodes WHERE key = ?", key)[0]
        held = held and not began[2]
        self._connection.execute(
            "INSERT OR IGNORE INTO dispatches (key, id, name, status, version, created_at, started_at, counts, "
            "notebook, cell, root, parent, parent_node, error, held) VALUES (?,?,?,?,1,?,?,?,'','',?,?,?,'',?)",
            (
                key, dispatch, name, "pending" if held else "running", began[0] or self._at, began[0],
                msgspec.msgpack.encode(Counts()), root, parent, parent_node, held,
            ),
        )  # fmt: skip
        graph = submission.graph if submission is not None else None
        self._named.append(f"dispatch {dispatch}: when it ran, and where it came from")
        if graph is None or held:
            return
        ended = {node for (node,) in self._select("SELECT node FROM nodes WHERE key = ?", key)}
        if {node for node, it in enumerate(graph.nodes) if does_work(it)} - ended:
            # Whether the others had ended is not known, and what had is not to run again.
            self._fail(key, dispatch, "its row, with how far it had come,")

    def _look_at(self, key: int, dispatch: str, status: str, graph: Graph) -> None:
        """Find nodes of one dispatch whose rows or values are lost."""
        states = dict(self._select("SELECT node, status FROM nodes WHERE key = ?", key))
        rows = self._select("SELECT node, value, failure, outputs FROM outcomes WHERE key = ?", key)
        outcomes = {row[0]: row[1:] for row in rows}
        dispatch_rows.use_blobs(self._connection, key, _blobs_in(outcomes.values()))
        lost = [node for node, it in states.items() if it == "completed" and outcomes.get(node, (None,))[0] is None]
        missing = [node for node, it in enumerate(graph.nodes) if does_work(it) and node not in states]
        # An outcome is recorded with the row of its node: these have ended, and do not run again.
        ended = [node for node in missing if any(outcomes.get(node, ()))]
        unknown = [node for node in missing if node not in ended]
        for node in ended:
            self._restore(key, node, "failed" if outcomes[node][0] is None else "completed")
        if ended:
            self._named.append(f"dispatch {dispatch}: when nodes {ended} ran")
        if status not in TERMINAL:
            self._run_again(key, dispatch, lost, unknown)
            return
        for node in unknown:
            self._restore(key, node, "skipped")
        if unknown and status != "completed":
            self._named.append(f"dispatch {dispatch}: how nodes {unknown} ended")
        elif unknown:
            lost += unknown
        for node in lost:
            self._lose(key, node, graph.nodes[node].name, dispatch)
        if lost:
            named = ", ".join(f"{node} ({graph.nodes[node].name})" for node in lost[:_SHOWN])
            self._fail(key, dispatch, f"the value of node {named}")

    def _run_again(self, key: int, dispatch: str, lost: list[int], unknown: list[int]) -> None:
        """Let nodes of a dispatch that goes on run again."""
        for node in lost:
            self._connection.execute("DELETE FROM nodes WHERE key = ? AND node = ?", (key, node))
        if lost:
            self._named.append(f"dispatch {dispatch}: the values of nodes {lost}, which are made again")
        (data,) = self._select("SELECT counts FROM dispatches WHERE key = ?", key)[0]
        counts = msgspec.msgpack.decode(data, type=Counts)
        if counts.pending + counts.running < len(unknown):
            self._named.append(f"dispatch {dispatch}: which of nodes {unknown} had ended; they run again")

    def _restore(self, key: int, node: int, status: str) -> None:
        """Insert the row of a node."""
        self._connection.execute(
            "INSERT INTO nodes (key, node, status, started_at, ended_at, attempt) "
            "SELECT key, ?, ?, started_at, ended_at, 1 FROM dispatches WHERE key = ?",
            (node, status, key),
        )

    def _lose(self, key: int, node: int, name: str, dispatch: str) -> None:
        """Record that the value of a node is lost."""
        message = f"the value of node {node} ({name}) of dispatch {dispatch} was in a damaged part of the database"
        failure = Failure("storage", message, "", f"{message}\n")
        outcome = Outcome(node, "failed", self._at, self._at, failure=failure)
        self._connection.execute(
            "UPDATE nodes SET status = 'failed', error_type = 'storage' WHERE key = ? AND node = ?", (key, node)
        )
        self._connection.execute(
            "INSERT OR REPLACE INTO outcomes (key, node, worker, failure, stdout, stderr) VALUES (?,?,'',?,'',?)",
            (key, node, msgspec.msgpack.encode(outcome.failure), f"{message}\n"),
        )

    def _fail(self, key: int, dispatch: str, what: str) -> None:
        """Let a dispatch say what it misses."""
        self._named.append(f"dispatch {dispatch}: {what}")
        message = (
            f"{what} of dispatch {dispatch} was in a damaged part of the database, which is kept in {self._kept}; "
            f"ct.redispatch({dispatch!r}, reuse_previous_results=True) makes again what is missing"
        )
        counts = dict.fromkeys(Counts.__struct_fields__, 0)
        counts |= dict(self._select("SELECT status, count(*) FROM nodes WHERE key = ? GROUP BY status", key))
        self._connection.execute(
            "UPDATE dispatches SET status = 'failed', held = 0, version = version + 1, "
            "ended_at = coalesce(ended_at, ?), counts = ?, error = ? || iif(error = '', '', char(10) || error) "
            "WHERE key = ?",
            (self._at, msgspec.msgpack.encode(Counts(**counts)), message, key),
        )
