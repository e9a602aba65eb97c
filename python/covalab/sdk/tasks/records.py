"""Records of tasks and dispatches, read by item and by attribute; the status of a task, and its error. Pure.

Records have the shapes of OmniQ's documentation ("Inspect Task Results and Errors"). They are dictionaries, so JSON can
hold them; as attributes times are datetimes and an error is a `TaskError`.
"""

from __future__ import annotations

import datetime as dt
import enum
import traceback as tracebacks
from collections.abc import Callable, ItemsView, Iterator, Mapping, ValuesView
from typing import Final, Protocol

import msgspec

from covalab.core.codec import class_name
from covalab.core.lifecycle import COVALENT_TEXT, task_status
from covalab.core.model import DispatchSummary, Failure, NodeDetail, Outcome, TaskRow, TaskStatusName, Value
from covalab.sdk.timestamps import Timestamp, timestamp
from covalab.sdk.values import FieldDict, UserValue

NOT_RETRYABLE: Final = frozenset({"cancelled", "dependency", "serialization", "timeout"})
"""Error types after which a task is not run again, unless `retry_on` names them."""


class Deserialize(Protocol):
    """`BlobStore.deserialize`: returns the value that was serialized."""

    def __call__(self, value: Value, *, what: str = "value") -> UserValue:
        """Return the value; `what` names it in error messages."""
        ...


class TaskStatus(str, enum.Enum):
    """Status of a task; equals its text. ``SUCCESS`` is another name of ``COMPLETED``.

    Examples
    --------
    >>> TaskStatus.COMPLETED == "COMPLETED", TaskStatus.SUCCESS is TaskStatus.COMPLETED
    (True, True)
    >>> TaskStatus("SUCCESS"), TaskStatus("RETRYING"), TaskStatus("NEW_OBJECT")
    ('COMPLETED', 'PENDING', 'PENDING')
    """

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    SUCCESS = "COMPLETED"  # noqa: PIE796 - an alias on purpose
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"

    @classmethod
    def _missing_(cls, value: object) -> TaskStatus | None:
        return _SYNONYMS.get(str(value).upper())

    def __str__(self) -> str:
        return self.value

    def __repr__(self) -> str:  # records are printed as the text they are
        return repr(self.value)


_SYNONYMS: Final[Mapping[str, TaskStatus]] = {
    **{status.value: status for status in TaskStatus},
    "SUCCESS": TaskStatus.COMPLETED,
    "RETRYING": TaskStatus.PENDING,
    "NEW_OBJECT": TaskStatus.PENDING,
    "STARTING": TaskStatus.PENDING,
    "PENDING_REUSE": TaskStatus.PENDING,
    "PENDING_REPLACEMENT": TaskStatus.PENDING,
    "DISPATCHING": TaskStatus.RUNNING,
    "POSTPROCESSING": TaskStatus.RUNNING,
    "PENDING_POSTPROCESSING": TaskStatus.RUNNING,
    "POSTPROCESSING_FAILED": TaskStatus.FAILED,
}
"""Names of OmniQ's and Covalent's for the same."""


def status_names(status: object) -> tuple[TaskStatusName, ...]:
    """Return the core's names for one status, or for several.

    Raises
    ------
    ValueError
        For a text that is no status.
    """
    if status is None:
        return ()
    several = status if isinstance(status, list | tuple | set | frozenset) else (status,)
    return tuple(TaskStatus(str(one)).value.lower() for one in several)  # type: ignore[misc]


class TaskError:
    """Error of a task, with OmniQ's fields.

    Attributes
    ----------
    error_type : str
        Where it failed: ``runtime``, ``timeout``, ``serialization``, ``storage``, ``worker_lost``, ``dependency``,
        ``cancelled``, ``deps``, ``executor`` or ``sublattice``.
    message : str
        The message of the exception.
    timestamp : datetime.datetime or None
        When it failed.
    traceback : str
        The traceback, cut to the task's own frames; an empty text where there is none.
    retry_count : int
        How many runs there were before the one that failed.
    is_retryable : bool
        Whether a failure of this type is run again when retries are left.
    exception_class : str
        The name of the exception's class; an empty text where there was none.
    """

    def __init__(
        self,
        error_type: str,
        message: str,
        timestamp: dt.datetime | None = None,
        traceback: str = "",
        retry_count: int = 0,
        *,
        is_retryable: bool | None = None,
        exception_class: str = "",
        original: Callable[[], BaseException | None] = lambda: None,
    ) -> None:
        self.error_type = error_type.lower()
        self.message = message
        self.timestamp = timestamp
        self.traceback = traceback
        self.retry_count = retry_count
        self.is_retryable = self.error_type not in NOT_RETRYABLE if is_retryable is None else is_retryable
        self.exception_class = exception_class
        self._original = original

    @property
    def exception(self) -> BaseException | None:
        """The exception itself, as the task raised it; None if it could not be kept or cannot be deserialized here."""
        return self._original()

    def can_retry(self) -> bool:
        """Whether a failure of this type is run again when retries are left."""
        return self.is_retryable

    def to_dict(self) -> FieldDict:
        """Return the error as JSON can hold it: its attributes, the time as ISO-8601 text."""
        return {
            "error_type": self.error_type,
            "message": self.message,
            "traceback": self.traceback,
            "retry_count": self.retry_count,
            "timestamp": None if self.timestamp is None else Timestamp.at(self.timestamp.timestamp()),
            "is_retryable": self.is_retryable,
            "exception_class": self.exception_class,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, UserValue]) -> TaskError:
        """Return the error that `to_dict` described; only ``error_type`` and ``message`` must be there."""
        at = data.get("timestamp")
        return cls(
            data["error_type"],
            data["message"],
            at if at is None or isinstance(at, dt.datetime) else Timestamp(at).datetime,
            data.get("traceback") or "",
            data.get("retry_count", 0),
            is_retryable=data.get("is_retryable"),
            exception_class=data.get("exception_class", ""),
        )

    @classmethod
    def from_exception(cls, error: BaseException, error_type: str = "runtime", *, retry_count: int = 0) -> TaskError:
        """Return the error that an exception is."""
        text = "".join(tracebacks.format_exception(type(error), error, error.__traceback__))
        now = dt.datetime.now(dt.timezone.utc)
        name = class_name(type(error))
        return cls(error_type, str(error), now, text, retry_count, exception_class=name, original=lambda: error)

    def __eq__(self, other: object) -> bool:
        return self.to_dict() == other.to_dict() if isinstance(other, TaskError) else NotImplemented

    def __hash__(self) -> int:
        return hash((self.error_type, self.message, self.timestamp, self.retry_count))

    def __str__(self) -> str:
        return f"{self.error_type}: {self.message}"

    def __repr__(self) -> str:
        return f"TaskError({self.error_type!r}, {self.message!r}, retry_count={self.retry_count})"


def error_of(
    failure: Failure, at: float | None, attempt: int, open_value: Callable[[Value], object] | None = None
) -> TaskError:
    """Return a recorded failure of run number `attempt` as a `TaskError`."""

    def original() -> BaseException | None:
        if failure.original is None or open_value is None:
            return None
        try:
            found = open_value(failure.original)
        except Exception:  # noqa: BLE001 - its class cannot be imported here
            return None
        return found if isinstance(found, BaseException) else None

    when = None if at is None else dt.datetime.fromtimestamp(at, dt.timezone.utc)
    message = failure.message or failure.exception
    return TaskError(
        failure.type,
        message,
        when,
        failure.traceback,
        max(0, attempt - 1),
        exception_class=failure.exception,
        original=original,
    )


class Record(dict[str, UserValue]):
    """Dictionary whose items can also be read as attributes. As attributes, times are aware datetimes."""

    def __getattr__(self, name: str) -> UserValue:
        try:
            value = self[name]
        except KeyError:
            message = f"this record has no {name!r}; it has {', '.join(self)}"
            raise AttributeError(message) from None
        return value.datetime if isinstance(value, Timestamp) else value


class TaskRecord(Record):
    """State of a task, with OmniQ's keys: ``id``, ``status``, ``result``, ``attempts``, ``enqueued_at``, ``error``.

    Beside these there is ``completed_at``, ``failed_at``, ``cancelled_at`` or ``started_at``, whichever is the latest
    that happened; as attributes, each of them is there, and None if it did not happen. The result is deserialized when
    it is first read. One that waits for its time has ``starts_at``, a run of a series ``schedule_id``; as attributes,
    they too are always there.
    """

    def __init__(self, row: TaskRow, open_result: Callable[[], UserValue], error: TaskError | None) -> None:
        status = TaskStatus(row.status.upper())
        super().__init__(
            id=f"{row.dispatch}:{row.node}",
            status=status,
            result=None,
            attempts=row.attempts,
            enqueued_at=Timestamp.at(row.enqueued_at),
        )
        if status is TaskStatus.PENDING and row.starts_at is not None:
            dict.__setitem__(self, "starts_at", timestamp(row.starts_at))
        if row.schedule_id is not None:
            dict.__setitem__(self, "schedule_id", str(row.schedule_id))
        name = _WHEN.get(status)
        if name is not None:
            dict.__setitem__(self, name, timestamp(row.ended_at if status in _ENDED else row.started_at))
        shown = None if error is None else {key: error.to_dict()[key] for key in _ERROR_KEYS}
        dict.__setitem__(self, "error", shown)
        self._row = row
        self._error = error
        self._open_result: Callable[[], UserValue] | None = open_result if status is TaskStatus.COMPLETED else None

    def _with_result(self) -> TaskRecord:
        """Deserialize the result, if that was not done; return this record."""
        if self._open_result is not None:
            dict.__setitem__(self, "result", self._open_result())
            self._open_result = None
        return self

    @property
    def error(self) -> TaskError | None:
        """The error, or None."""
        return self._error

    @property
    def dispatch_id(self) -> str:
        """The dispatch that the task is a node of."""
        return self._row.dispatch

    @property
    def node_id(self) -> int:
        """Its number there."""
        return self._row.node

    @property
    def next_attempt_at(self) -> dt.datetime | None:
        """When it is run next, if it waits for that; else None."""
        return _datetime(self._row.next_at)

    def __getattr__(self, name: str) -> UserValue:
        if name in ("starts_at", "schedule_id") and name not in self:
            return None
        if name in _TIMES and name not in self:
            return _datetime(self._row.started_at) if name == "started_at" else None
        return super().__getattr__(name)

    # Each way to read the result deserializes it first.

    def __getitem__(self, key: str) -> UserValue:
        return dict.__getitem__(self._with_result() if key == "result" else self, key)

    def get(self, key: str, default: UserValue = None) -> UserValue:
        """Return an item, or the default."""
        return dict.get(self._with_result() if key == "result" else self, key, default)

    def items(self) -> ItemsView[str, UserValue]:  # type: ignore[override]
        """Return all items."""
        return dict.items(self._with_result())

    def values(self) -> ValuesView[UserValue]:  # type: ignore[override]
        """Return all values."""
        return dict.values(self._with_result())

    def copy(self) -> dict[str, UserValue]:
        """Return a plain dictionary."""
        return dict(self.items())

    def __iter__(self) -> Iterator[str]:  # without this, `dict(record)` would not ask `__getitem__`
        return dict.__iter__(self)

    def __eq__(self, other: object) -> bool:
        return dict.__eq__(self._with_result(), other._with_result() if isinstance(other, TaskRecord) else other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return dict.__repr__(self._with_result())

    def __reduce__(self) -> tuple[type[Record], tuple[dict[str, UserValue]]]:
        # The row and the way to the result stay here: a copy in another process is a plain record.
        return Record, (self.copy(),)


_ERROR_KEYS: Final = ("error_type", "message", "traceback", "retry_count", "timestamp")
_ENDED: Final = (TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.CANCELLED)
_WHEN: Final = {
    TaskStatus.RUNNING: "started_at",
    TaskStatus.COMPLETED: "completed_at",
    TaskStatus.FAILED: "failed_at",
    TaskStatus.CANCELLED: "cancelled_at",
}
_TIMES: Final = frozenset(_WHEN.values())


def _datetime(seconds: float | None) -> dt.datetime | None:
    return None if seconds is None else dt.datetime.fromtimestamp(seconds, dt.timezone.utc)


def dispatch_record(summary: DispatchSummary) -> Record:
    """Return a dispatch as `covalab.list_dispatches` lists it, with Covalent's fields."""
    updated = summary.ended_at or summary.started_at or summary.created_at
    counts = summary.counts
    n_all = counts.pending + counts.running + counts.completed + counts.failed + counts.cancelled + counts.skipped
    return Record(
        dispatch_id=str(summary.id),
        root_dispatch_id=str(summary.root or summary.id),
        status=COVALENT_TEXT[summary.status],
        name=summary.name,
        electron_num=n_all,
        completed_electron_num=counts.completed,
        created_at=Timestamp.at(summary.created_at),
        started_at=timestamp(summary.started_at),
        updated_at=Timestamp.at(updated),
        completed_at=timestamp(summary.ended_at),
        error=summary.error or None,
        starts_at=timestamp(summary.starts_at),
        schedule_id=None if summary.schedule_id is None else str(summary.schedule_id),
        tags=list(summary.tags),
    )


def task_record(detail: NodeDetail, summary: DispatchSummary, deserialize: Deserialize) -> TaskRecord:
    """Return a node, and what it takes from the summary of its dispatch, as the record of a task."""
    failure = detail.failure
    row = TaskRow(
        detail.dispatch,
        detail.node,
        task_status(detail.status, None if failure is None else failure.type),
        detail.attempt,
        summary.created_at,
        detail.started_at,
        detail.ended_at,
        detail.next_at,
        failure,
        starts_at=summary.starts_at,
        schedule_id=summary.schedule_id,
    )

    def open_result() -> UserValue:
        if detail.value is None:
            return None
        what = f"the output of {detail.name!r} (node {detail.node} of dispatch {detail.dispatch})"
        return deserialize(detail.value, what=what)

    error = None if failure is None else error_of(failure, detail.ended_at, detail.attempt, deserialize)
    return TaskRecord(row, open_result, error)


def node_additions(detail: NodeDetail, enqueued_at: float, deserialize: Deserialize) -> FieldDict:
    """Return the keys of `Result.get_node_result` that Covalent does not have."""
    failure = detail.failure
    error = None if failure is None else error_of(failure, detail.ended_at, detail.attempt, deserialize)
    return {
        "attempts": detail.attempt,
        "retry_count": max(0, detail.attempt - 1),
        "max_retries": detail.retries,
        "time_limit": detail.time_limit,
        "error_type": None if failure is None else failure.type,
        "error_details": None if error is None else error.to_dict(),
        "enqueued_at": Timestamp.at(enqueued_at),
        "started_at": timestamp(detail.started_at),
        "worker": detail.worker or None,
    }


def attempts_of(detail: NodeDetail, deserialize: Deserialize) -> list[Record]:
    """Return the runs of a node, the first one first."""
    runs = [_attempt(it.number, it.outcome, deserialize) for it in detail.attempts]
    if detail.attempt > len(runs) and detail.started_at is not None:
        # The newest run is not among the attempts until another follows it.
        ended_at = detail.ended_at or 0.0
        last = Outcome(detail.node, detail.status, detail.started_at, ended_at, None, detail.failure)
        runs.append(_attempt(detail.attempt, msgspec.structs.replace(last, worker=detail.worker), deserialize))
    return runs


def _attempt(number: int, outcome: Outcome, deserialize: Deserialize) -> Record:
    failure, ended_at = outcome.failure, outcome.ended_at or None
    error = None if failure is None else error_of(failure, ended_at, number, deserialize)
    return Record(
        attempt=number,
        started_at=timestamp(outcome.started_at),
        ended_at=timestamp(ended_at),
        outcome=TaskStatus(task_status(outcome.status, None if failure is None else failure.type).upper()),
        error_details=None if error is None else error.to_dict(),
        worker=outcome.worker or None,
    )
