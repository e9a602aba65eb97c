"""Error classes, as one tree. Every message states the problem, the id it concerns, and what to do next.

CovalabError
 ├─ DispatcherError               the background process cannot do it
 │   ├─ DispatcherUnavailable     it is not running and could not be started
 │   │   └─ DispatcherSilent      it is running and does not answer
 │   ├─ TokenRefused              a Jupyter server does not accept the token
 │   ├─ VersionMismatch           two parts of covalab have different versions
 │   ├─ DataFolderError           the data folder is full, read-only, or another user's
 │   └─ TakenOver                 another dispatcher has taken over the data folder
 ├─ ConfigError                   the configuration has a wrong or contradictory value
 ├─ CovalentFound                 Covalent itself is where covalab's modules were to be
 ├─ MissingLatticeRecordError     no dispatch has this id (Covalent's name)
 ├─ AmbiguousId                  several ids begin with what was typed
 ├─ NotTrusted                    a dispatch was written by another account, or was changed since
 ├─ ArchiveDamaged                a file is no archive of a dispatch, or is damaged
 ├─ ArchiveExists                 an archive or a dispatch cannot be written where there is another
 ├─ GraphError                    a lattice cannot become a transport graph
 │   └─ ExecutorNotFound          no executor has this name
 ├─ WorkingFolderGone             the folder in which this process stands was removed
 ├─ TriggerError                  a trigger cannot be used like this
 ├─ SerializationError            a value cannot be encoded or decoded
 │   └─ ValueTooLarge             ... because it is larger than the configured limit
 ├─ ExecutionClosed               a dispatch takes no more commands from outside
 ├─ NoSuchInterrupt               no interrupt waits for this answer
 ├─ AnsweredDifferently           the interrupt has another answer already
 ├─ DepsFailed                    a hook before or after a task failed
  ├─ RecordNotReadable             what the cells before left cannot be read
  └─ ValueLost                     the bytes of a value are not there
      ├─ BlobNotFound              its file is missing
      └─ BlobDamaged               they were changed
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final


class CovalabError(Exception):
    """The base of every error that covalab raises on purpose."""


class DispatcherError(CovalabError, RuntimeError):
    """The background dispatcher answered with an error."""


class DispatcherUnavailable(DispatcherError, ConnectionError):
    """The background dispatcher is not running and could not be started."""


class DispatcherSilent(DispatcherUnavailable, TimeoutError):
    """The background dispatcher is running and has not answered in time: it is stopped, or its disk hangs."""


class TokenRefused(DispatcherError, PermissionError):
    """The Jupyter server that this process uses does not accept its token."""

    __str__ = Exception.__str__  # that of an OSError is for a number and a text


class VersionMismatch(DispatcherError):
    """Two parts of covalab that must agree have different versions. One argument is the whole message."""

    def __init__(self, here: str, there: str = "", where: str = "", remedy: str = "") -> None:
        self.here, self.there, self.where, self.remedy = here, there, where, remedy
        super().__init__(here, there, where, remedy)

    def __str__(self) -> str:
        if not self.there:
            return self.here
        return f"this is covalab {self.here}, {self.where} is covalab {self.there}; {self.remedy}"


class DataFolderError(DispatcherError, OSError):
    """The data folder cannot be used."""


class ConfigError(CovalabError, ValueError):
    """The configuration has a wrong or contradictory value. One argument is the whole message."""

    def __init__(self, where: str, what: str = "") -> None:
        self.where, self.what = where, what
        super().__init__(where, what)

    def __str__(self) -> str:
        if not self.what:
            return self.where
        return f"the configuration in {self.where} cannot be used: {self.what}; correct it and dispatch again"


class CovalentFound(CovalabError, ImportError):
    """Covalent itself is installed or imported where ``import covalent`` was to mean covalab."""

    def __init__(self, where: str, remedy: str) -> None:
        self.where, self.remedy = where, remedy
        super().__init__(where, remedy)

    def __str__(self) -> str:
        return f"`import covalent` already means the package at {self.where}; {self.remedy}"


class TakenOver(DispatcherError):
    """Another dispatcher has taken over the data folder; this one writes no more."""


class MissingLatticeRecordError(CovalabError, LookupError):
    """No dispatch has this id (the name is Covalent's)."""

    def __init__(self, dispatch: str, store: str = "") -> None:
        self.dispatch, self.store = dispatch, store
        super().__init__(dispatch, store)

    def __str__(self) -> str:
        where = f" in {self.store}" if self.store else ""
        return f"no dispatch {self.dispatch!r}{where}; `%dispatches` or `covalab list` shows those there are"


class AmbiguousId(CovalabError):
    """Several ids begin with what was typed."""


class NotTrusted(CovalabError, PermissionError):
    """A dispatch was not written by this account, or was changed since: to open its values may run others' code."""

    __str__ = Exception.__str__  # that of an OSError is for a number and a text


class ArchiveDamaged(CovalabError, ValueError):
    """A file is no archive of a dispatch that this version reads, or it is damaged; nothing of it was recorded."""


class ArchiveExists(CovalabError, RuntimeError):
    """An archive or a dispatch cannot be written: there is another, or the dispatch has not ended."""


class MissingArguments(CovalabError, TypeError):
    """A lattice or an electron is called without arguments that it must have."""


class GraphError(CovalabError, ValueError):
    """A lattice cannot become a transport graph."""


class ExecutorNotFound(GraphError):
    """No executor has this name."""

    def __init__(self, name: str, electron: str, known: tuple[str, ...], why: str = "") -> None:
        self.name, self.electron, self.known, self.why = name, electron, known, why
        super().__init__(name, electron, known, why)

    def __str__(self) -> str:
        asking = f"electron {self.electron!r} asks for executor {self.name!r}: " if self.electron else ""
        why = f" ({self.why})" if self.why else ""
        return f"{asking}No executor found by name {self.name!r}{why}; there is {', '.join(self.known)}"


class WorkingFolderGone(CovalabError, FileNotFoundError):
    """The current folder of this process was removed, so no task can run in it."""

    __str__ = Exception.__str__  # that of an OSError is for a number and a text


class TriggerError(CovalabError, RuntimeError):
    """A trigger is attached to no dispatch, has stopped, or does not exist."""


class SerializationError(CovalabError, TypeError):
    """A value cannot be encoded or decoded."""


class ValueTooLarge(SerializationError):
    """A value is larger than the configured limit."""

    def __init__(self, what: str, size: int, limit: int) -> None:
        self.what, self.size, self.limit = what, size, limit
        super().__init__(what, size, limit)

    def __str__(self) -> str:
        return (
            f"{self.what} takes {self.size:,} bytes encoded, the limit is {self.limit:,}; "
            "write it to a file and pass the path, or raise COVALAB_MAX_VALUE_BYTES"
        )


class ExecutionClosed(CovalabError, RuntimeError):
    """A dispatch takes no commands from outside: it is sealed or closed, or was not made for them."""


class NoSuchInterrupt(CovalabError, KeyError):
    """No interrupt with this id waits, or ever waited, for an answer."""

    __str__ = Exception.__str__  # a KeyError shows its message as a key


class AnsweredDifferently(CovalabError, ValueError):
    """An interrupt has been answered with another value."""


class DepsFailed(CovalabError, RuntimeError):
    """A hook before or after a task failed, so the task did."""


class ValueLost(CovalabError):
    """The bytes of a value are not there. `digest` is the blob's, empty for a value that is no file."""

    def __init__(self, message: str, digest: str = "") -> None:
        self.digest = digest
        super().__init__(message)


class BlobNotFound(ValueLost, LookupError):
    """The file of a value is missing."""


class BlobDamaged(ValueLost, ValueError):
    """The bytes of a value, its file in most cases, were changed after they were written."""


class CellNotRun(CovalabError):
    """Cell that is not run, because it is not shown to be independent of one that failed."""


class RecordNotReadable(CovalabError, LookupError):
    """The record that a cell of a session goes on from cannot be read."""


STORAGE_ERRORS: Final = (DataFolderError, BlobNotFound, BlobDamaged)
"""Errors of the data folder: a task that fails by one, outside its own code, has failed by ``storage``."""


class TaskRuntimeError(CovalabError, RuntimeError):
    """An executor says that its task failed (the name is Covalent's)."""


class TaskCancelledError(CovalabError, RuntimeError):
    """An executor says that its task was cancelled (the name is Covalent's)."""


class TaskFailed(CovalabError, RuntimeError):
    """A dispatch or a task ended without a value; `Result.raise_for_status` raises it."""


def error_of(kind: str, message: str) -> CovalabError:
    """Return the error that another process reported: of its class, with its message.

    Examples
    --------
    >>> print(repr(error_of("ConfigError", "dask: no")), error_of("ConfigError", "dask: no"))
    ConfigError('dask: no', '') dask: no
    >>> error_of("KeyError", "x")
    DispatcherError('x')
    """
    known = globals().get(kind)
    if isinstance(known, type) and issubclass(known, CovalabError):
        with suppress(TypeError):
            return known(message)
    return DispatcherError(message)
