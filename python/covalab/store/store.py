"""Database of a data folder: one writing thread with grouped commits, and read-only connections.

Jobs that arrive while a commit runs share the next one, and return after it. Every transaction checks the epoch, so
that a dispatcher that was frozen while another took over cannot write any more.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar

import apsw

from covalab.core.errors import DataFolderError, TakenOver, VersionMismatch
from covalab.store.schema import check_version, migrate

_T = TypeVar("_T")
Job: TypeAlias = Callable[[apsw.Connection], Any]

_GROUP_LIMIT: Final = 256
"""Jobs of one transaction: enough that the disk's flush is shared, few enough that the first need not wait for long."""

_BUSY_MS: Final = 30_000


class Store:
    """The database of one data folder.

    Parameters
    ----------
    path
        The database file; it is created if missing.

    Raises
    ------
    DataFolderError
        If the file cannot be opened, read or written, or is not a database.
    VersionMismatch
        If a newer covalab wrote it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._writer = apsw.Connection(str(path))
            self._writer.set_busy_timeout(_BUSY_MS)
            check_version(self._writer, str(path))  # before anything that writes: a newer covalab's file stays as it is
            self._writer.pragma("journal_mode", "wal")
            # A flush at each commit: an acknowledged outcome survives a power loss. Grouped commits make up for it.
            self._writer.pragma("synchronous", "full")
            self._writer.pragma("foreign_keys", True)
            migrate(self._writer)
            self.epoch = self._next_epoch()
        except apsw.Error as error:
            raise _explained(error, path) from error
        except VersionMismatch:
            self._writer.close()
            raise
        self._jobs: queue.SimpleQueue[tuple[Job, asyncio.Future[Any]] | None] = queue.SimpleQueue()
        self._readers = ThreadPoolExecutor(2, thread_name_prefix="store-reader")
        self._local = threading.local()
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

    async def write(self, job: Callable[[apsw.Connection], _T]) -> _T:
        """Run a job in the next transaction; returns after the commit.

        Raises
        ------
        DataFolderError
            If the disk is full or the database cannot be written; nothing of the job is kept.
        TakenOver
            If another dispatcher writes to this database by now.
        """
        future: asyncio.Future[_T] = asyncio.get_running_loop().create_future()
        self._jobs.put((job, future))
        return await future

    async def read(self, job: Callable[[apsw.Connection], _T]) -> _T:
        """Run a job on a read-only connection, in one consistent snapshot."""
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, job)

    def _read(self, job: Callable[[apsw.Connection], _T]) -> _T:
        connection: apsw.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READONLY)
            connection.set_busy_timeout(_BUSY_MS)
            self._local.connection = connection
        try:
            with connection:
                result = job(connection)
        except apsw.Error as error:
            raise _explained(error, self.path) from error
        return result

    def close(self) -> None:
        """Commit what is queued and close."""
        self._jobs.put(None)
        self._thread.join()
        self._readers.shutdown()

    # -- the writer's thread -------------------------------------------------------------------------------------

    def _write(self) -> None:
        ended = False
        while not ended:
            group = [self._jobs.get()]
            with suppress(queue.Empty):
                while len(group) < _GROUP_LIMIT:
                    group.append(self._jobs.get_nowait())
            jobs = [item for item in group if item is not None]
            ended = len(jobs) < len(group)
            if not jobs:
                continue
            try:
                results = self._commit([job for job, _ in jobs])
            except Exception:  # noqa: BLE001 - one job failed, and undid the whole group: each again, by itself
                for job, future in jobs:
                    try:
                        result = self._commit([job])[0]
                    except Exception as error:  # noqa: BLE001 - raised where the job was given
                        _resolve(future, error=_explained(error, self.path))
                    else:
                        _resolve(future, result=result)
            else:
                for (_, future), result in zip(jobs, results, strict=True):
                    _resolve(future, result=result)
        self._writer.close()

    def _check_epoch(self) -> None:
        row = self._writer.execute("SELECT value FROM meta WHERE key = 'epoch'").fetchone()
        if row is None or row[0] != self.epoch:
            message = f"another dispatcher has taken over {self.path}; this one (epoch {self.epoch}) writes no more"
            raise TakenOver(message)

    def _commit(self, jobs: list[Job]) -> list[Any]:
        # The write lock at once: the epoch that is read must not change before the commit.
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            self._check_epoch()
            results = [job(self._writer) for job in jobs]
            self._writer.execute("COMMIT")
        except BaseException:  # whatever it was, no half of a group stays
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            raise
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


def _explained(error: Exception, path: Path) -> Exception:
    """Return a database error as one that says what to do about it, or the error itself."""
    if isinstance(error, apsw.FullError):
        what = "the disk is full; free some space"
    elif isinstance(error, apsw.ReadOnlyError | apsw.CantOpenError | apsw.PermissionsError):
        what = "it cannot be written; make the data folder writable"
    elif isinstance(error, apsw.NotADBError | apsw.CorruptError):
        what = "it is damaged; move the data folder away and keep it, `covalab start` makes a new one"
    elif isinstance(error, apsw.BusyError | apsw.LockedError):
        what = "another program keeps it locked; close that program"
    elif isinstance(error, apsw.IOError):
        what = f"the disk reports an error ({error}); check it"
    else:
        return error
    return DataFolderError(f"cannot use {path}: {what}, or set COVALAB_DATA_DIR to another folder")
