"""Opening of the database: what is lost or damaged is found, kept, named and left behind before anything is written."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Final

import apsw
import msgspec

from covalab.core.errors import VersionMismatch
from covalab.core.model import Counts
from covalab.store.commit_log import CommitLog, Lost
from covalab.store.pages import add_checksums, connect, damaged_pages
from covalab.store.repair import keep_aside, rebuild
from covalab.store.schema import check_version, migrate

_log = logging.getLogger("covalab.dispatcher")
_SHOWN: Final = 20


def open_writer(path: Path, log: CommitLog, busy_ms: int) -> apsw.Connection:
    """Open a database for writing, with the current schema, and repair it where it is damaged.

    Raises
    ------
    apsw.Error
        If it cannot be opened, or is damaged in a way that cannot be repaired.
    VersionMismatch
        If a newer covalab wrote it; not a byte is changed.
    """
    writer = _open(path, busy_ms)
    try:
        lost = _lost(writer, path, log)
        kept = keep_aside(path) if lost.n_commits else None
        bad = _left_damaged(writer, path)
        if bad:
            kept = kept or keep_aside(path)
            writer.close()
            rebuild(path, bad, kept)
            writer = _open(path, busy_ms)
            if last_commit(writer):
                lost = max(lost, _lost(writer, path, log), key=lambda it: it.n_commits)
            else:  # the number is among what is damaged, which was named
                writer.execute("INSERT OR IGNORE INTO meta VALUES ('commit', ?)", (log.lost(0).n_commits,))
        writer.pragma("journal_mode", "wal")
        # A flush at each commit: an acknowledged outcome survives a power loss. Grouped commits make up for it.
        writer.pragma("synchronous", "full")
        writer.pragma("foreign_keys", True)
        add_checksums(writer, path)
        migrate(writer)
        with writer:
            writer.execute("INSERT OR IGNORE INTO meta VALUES ('commit', 0)")
            if lost.n_commits and kept is not None:
                _name_lost(writer, path, lost, kept)
    except BaseException:
        writer.close()
        raise
    return writer


def _open(path: Path, busy_ms: int) -> apsw.Connection:
    writer = connect(path)
    writer.set_busy_timeout(busy_ms)
    try:
        check_version(writer, str(path))  # before anything that writes: a newer covalab's file stays as it is
    except VersionMismatch:
        writer.close()
        raise
    except apsw.Error:
        if not damaged_pages(path):
            writer.close()
            raise
    return writer


def _left_damaged(writer: apsw.Connection, path: Path) -> list[int]:
    """Move the write-ahead log to the file, where its pages replace damaged ones; return those that are left.

    Raises
    ------
    apsw.Error
        If there is no room for that, somebody or the disk keeps it from that: the log may have all that the file lacks.
    """
    trouble: apsw.Error | None = None
    try:
        writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    except apsw.Error as error:
        trouble = error
    bad = damaged_pages(path)
    if bad and trouble is not None and not _is_damage(trouble):
        raise trouble
    return bad


def _is_damage(error: apsw.Error) -> bool:
    is_of_content = isinstance(error, apsw.IOError) and getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_DATA
    return is_of_content or isinstance(error, apsw.CorruptError | apsw.NotADBError | apsw.SQLError)


def last_commit(connection: apsw.Connection) -> int:
    """Return the number of the last commit."""
    row = connection.execute("SELECT value FROM meta WHERE key = 'commit'").fetchone()
    return 0 if row is None else int(row[0])


def _lost(writer: apsw.Connection, path: Path, log: CommitLog) -> Lost:
    """Return which commits the database has lost; none where that cannot be known because of damaged pages."""
    if not path.stat().st_size:
        return log.lost(0)
    try:
        return log.lost(last_commit(writer))
    except apsw.SQLError:  # there is no such table yet
        return log.lost(0)
    except apsw.Error:
        return Lost(0, [])


def _name_lost(writer: apsw.Connection, path: Path, lost: Lost, kept: Path) -> None:
    """Record which dispatches are lost, and go on with a number that no lost commit had."""
    known = {one for one in lost.ids if writer.execute("SELECT 1 FROM dispatches WHERE id = ?", (one,)).fetchone()}
    gone = [one for one in lost.ids if one not in known]
    error = (
        "it was recorded, and is lost: the database or its write-ahead log was damaged. "
        f"The damaged files are kept in {kept}; dispatch it again"
    )
    now = time.time()
    for one in gone:
        writer.execute(
            "INSERT INTO dispatches (id, name, status, version, created_at, ended_at, counts, notebook, cell, "
            "parent_node, error) VALUES (?,?,'failed',1,?,?,?,'','',-1,?)",
            (one, "(lost)", now, now, msgspec.msgpack.encode(Counts()), error),
        )
    number = last_commit(writer) + lost.n_commits
    writer.execute("UPDATE meta SET value = ? WHERE key = 'commit'", (number,))
    _log.error(
        "%d commits are missing in %s: it or its write-ahead log was damaged, and is kept as it was in %s. "
        "Lost: %s. What others of their changes are missing is done again: %s",
        lost.n_commits, path, kept, _list(gone), _list(sorted(known)),
    )  # fmt: skip


def _list(ids: list[str]) -> str:
    more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
    return f"{', '.join(ids[:_SHOWN])}{more}" if ids else "none"
