"""Database of a data folder: one writing thread with grouped commits, and read-only connections.

Jobs that arrive while a commit runs share the next one, and return after it. Every transaction checks the epoch, so
that a dispatcher that was frozen while another took over cannot write any more, and counts itself (`commit_log`).
What is damaged is found when the file is opened (`opening`), or when a page of it is read.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

import apsw

from covalab import open_files
from covalab.core.errors import DataFolderError, TakenOver
from covalab.crash_points import crash_point
from covalab.store import opening
from covalab.store.commit_log import CommitLog
from covalab.store.pages import connect
from covalab.store.seals import seal_with

_log = logging.getLogger("covalab.dispatcher")
_T = TypeVar("_T")
Job: TypeAlias = Callable[[apsw.Connection], Any]
_Item: TypeAlias = "tuple[Job, asyncio.Future[Any], Collection[str]]"

_GROUP_LIMIT: Final = 256
"""Jobs of one transaction: enough that the disk's flush is shared, few enough that the first need not wait for long."""

_BUSY_MS: Final = 30_000
_READERS: Final = 2
_IDLE_SECONDS: Final = 2.0
_CHECKPOINT_MS: Final = 100


class Store:
    """The database of one data folder.

    Parameters
    ----------
    path
        The database file; it is created if missing.
    key
        The key of this account, by which rows are sealed; without one they are not.

    Raises
    ------
    DataFolderError
        If the file cannot be opened, read or written, or is not a database.
    VersionMismatch
        If a newer covalab wrote it.
    """

    def __init__(self, path: Path, key: bytes | None = None) -> None:
        self.path = path
        self.key = key
        self.on_damage: Callable[[], object] = lambda: None
        """Called, in any thread, when a page is read that is damaged; the next start makes the database anew."""
        self._log = CommitLog(path)
        try:
            self._writer = opening.open_writer(path, self._log, _BUSY_MS)
            seal_with(self._writer, key)
            self.epoch = self._next_epoch()
            self._number = opening.last_commit(self._writer)
        except apsw.Error as error:
            raise _explained(error, path) from error
        self._log.open()
        self._is_idle = False
        self._jobs: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        # Now: later there may be no descriptors left, and who reads would be told that the database cannot be opened.
        self._connections = [self._reader() for _ in range(_READERS)]
        self._free: queue.SimpleQueue[apsw.Connection] = queue.SimpleQueue()
        for connection in self._connections:
            self._free.put(connection)
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="store-reader")
        # A daemon: when the dispatcher fails to start, nothing may keep its process, and with it the lock, alive.
        self._thread = threading.Thread(target=self._write, name="store-writer", daemon=True)
        self._thread.start()

    def _next_epoch(self) -> int:
        # Whoever opens the database last is the one that may write; all others find another number than theirs.
        with self._writer:
            row = self._writer.execute(
                "INSERT INTO meta VALUES ('epoch', 1) ON CONFLICT (key) DO UPDATE SET value = value + 1 RETURNING value"
            ).fetchone()
        assert row is not None
        return int(row[0])

    async def write(self, job: Callable[[apsw.Connection], _T], about: Collection[str] = ()) -> _T:
        """Run a job in the next transaction; returns after the commit.

        `about` are the ids of the dispatches that it is about: should the commit get lost, they are named.

        Raises
        ------
        DataFolderError
            If the disk is full or the database cannot be written; nothing of the job is kept.
        TakenOver
            If another dispatcher writes to this database by now.
        """
        future: asyncio.Future[_T] = asyncio.get_running_loop().create_future()
        self._jobs.put((job, future, about))
        return await future

    async def read(self, job: Callable[[apsw.Connection], _T]) -> _T:
        """Run a job on a read-only connection, in one consistent snapshot."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, job)

    async def check_epoch(self) -> None:
        """Raise `TakenOver` if another dispatcher writes to this database by now."""
        await self.read(self._check_epoch)

    def _reader(self) -> apsw.Connection:
        try:
            connection = connect(self.path, read_only=True)
            connection.set_busy_timeout(_BUSY_MS)
            connection.execute("SELECT 1 FROM meta").fetchall()  # only this opens the files beside it
        except apsw.Error as error:
            raise self._explain(error) from error
        return connection

    def _read(self, job: Callable[[apsw.Connection], _T]) -> _T:
        connection = self._free.get()  # as many as threads
        try:
            connection.execute("BEGIN")
            return job(connection)
        except apsw.Error as error:
            raise self._explain(error) from error
        finally:
            try:
                if connection.in_transaction:  # a page that is damaged has ended it
                    connection.execute("ROLLBACK")
            finally:
                self._free.put(connection)

    def _explain(self, error: Exception) -> Exception:
        if _is_damaged_page(error):
            self.on_damage()
        return _explained(error, self.path)

    def close(self) -> None:
        """Commit what is queued and close; everything is in the database file then, and nothing beside it."""
        # First: as long as one of them is open, the write-ahead log stays.
        self._readers.shutdown()
        for connection in self._connections:
            connection.close()
        self._jobs.put(None)
        self._thread.join()

    # -- the writer's thread -------------------------------------------------------------------------------------

    def _write(self) -> None:
        ended = False
        while not ended:
            group = [self._next()]
            with suppress(queue.Empty):
                while len(group) < _GROUP_LIMIT:
                    group.append(self._jobs.get_nowait())
            jobs = [item for item in group if item is not None]
            ended = len(jobs) < len(group)
            if not jobs:
                continue
            try:
                results = self._commit(jobs)
            except Exception:  # noqa: BLE001 - one job failed, and undid the whole group: each again, by itself
                for item in jobs:
                    try:
                        result = self._commit([item])[0]
                    except Exception as error:  # noqa: BLE001 - raised where the job was given
                        _resolve(item[1], error=self._explain(error))
                    else:
                        _resolve(item[1], result=result)
            else:
                for (_, future, _), result in zip(jobs, results, strict=True):
                    _resolve(future, result=result)
        self._end()

    def _end(self) -> None:
        self._checkpoint()
        try:
            self._writer.close()
        except apsw.Error as error:  # it is all in the write-ahead log, which the next start reads
            _log.warning("%s", _explained(error, self.path))
        self._log.close()

    def _next(self) -> _Item | None:
        """Return the next job; while there is none, move what is committed to the database file."""
        if not self._is_idle:
            try:
                return self._jobs.get(timeout=_IDLE_SECONDS)
            except queue.Empty:
                self._is_idle = self._checkpoint()
        return self._jobs.get()

    def _checkpoint(self) -> bool:
        """Move what is committed to the database file, so that little is in the write-ahead log. Return whether it is.

        A reader that is busy keeps it from that; it is tried again after the next commit.
        """
        try:
            self._writer.set_busy_timeout(_CHECKPOINT_MS)
            n_frames, n_moved = self._writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            if n_frames == n_moved:
                self._check_epoch(self._writer)  # another dispatcher's commits are in its log
                self._log.restart(self._number)
        except (apsw.Error, TakenOver):
            pass
        finally:
            self._writer.set_busy_timeout(_BUSY_MS)
        return True

    def _check_epoch(self, connection: apsw.Connection) -> None:
        row = connection.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()
        if row is None or row[0] != self.epoch:
            message = f"another dispatcher has taken over {self.path}; this one (epoch {self.epoch}) writes no more"
            raise TakenOver(message)

    def _commit(self, items: list[_Item]) -> list[Any]:
        self._is_idle = False
        # The write lock at once: the epoch that is read must not change before the commit.
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            self._check_epoch(self._writer)
            results = [job(self._writer) for job, _, _ in items]
            self._writer.execute("UPDATE meta SET value = ? WHERE key = 'commit'", (self._number + 1,))
            crash_point("transaction.open")
            self._writer.execute("COMMIT")
        except BaseException:  # whatever it was, no half of a group stays
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            raise
        crash_point("transaction.committed")
        self._number += 1
        self._log.add(self._number, dict.fromkeys(one for _, _, about in items for one in about))
        crash_point("transaction.logged")
        return results


def _resolve(future: asyncio.Future[Any], *, result: Any = None, error: Exception | None = None) -> None:
    def settle() -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)

    with suppress(RuntimeError):  # the loop is closed, and no job is awaited any more
        future.get_loop().call_soon_threadsafe(settle)


def _is_damaged_page(error: Exception) -> bool:
    return isinstance(error, apsw.IOError) and getattr(error, "extendedresult", 0) == apsw.SQLITE_IOERR_DATA


def _explained(error: Exception, path: Path) -> Exception:
    """Return a database error as one that says what to do about it, or the error itself."""
    if isinstance(error, apsw.SQLError) and isinstance(error.__context__, apsw.Error):
        error = error.__context__  # what was to be rolled back was, by the first one
    if isinstance(error, apsw.CantOpenError | apsw.IOError) and open_files.are_scarce():
        what = open_files.explain()
    elif isinstance(error, apsw.FullError):
        what = "the disk is full; free some space"
    elif isinstance(error, apsw.ReadOnlyError | apsw.CantOpenError | apsw.PermissionsError):
        what = "it cannot be written; make the data folder writable"
    elif _is_damaged_page(error):
        what = "a part of it is damaged; this dispatcher ends, and the next makes it anew from what is whole: try again"
    elif isinstance(error, apsw.NotADBError | apsw.CorruptError):
        what = "it is damaged; move the data folder away and keep it, `covalab start` makes a new one"
    elif isinstance(error, apsw.BusyError | apsw.LockedError):
        what = "another program keeps it locked; close that program"
    elif isinstance(error, apsw.IOError):
        what = f"the disk reports an error ({error}); check it"
    else:
        return error
    return DataFolderError(f"cannot use {path}: {what}, or set COVALAB_DATA_DIR to another folder")
