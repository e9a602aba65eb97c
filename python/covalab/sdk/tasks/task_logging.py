"""``ct.logging``: Python's own loggers, with the id of the task in every line.

Log lines of a task go to its stderr, and are kept with it.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TextIO, TypeAlias

from covalab.sdk.timestamps import Timestamp
from covalab.sdk.values import FieldDict, UserValue
from covalab.worker.context import get_context

if TYPE_CHECKING:
    from typing_extensions import Self

    _Adapter = logging.LoggerAdapter[logging.Logger]
else:
    _Adapter = logging.LoggerAdapter

ROOT: Final = "covalab.tasks"
"""The logger above all that `bind_task` returns."""

_TASK_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(:[0-9]+)?")
_CONTEXT: Final = "covalab_context"
_Processed: TypeAlias = tuple[UserValue, MutableMapping[str, UserValue]]


class TaskLogger(_Adapter):
    """A logger that adds its context to each record: as attribute ``covalab_context``, a dictionary."""

    def process(self, msg: UserValue, kwargs: MutableMapping[str, UserValue]) -> _Processed:
        """Add the context."""
        kwargs["extra"] = {**(kwargs.get("extra") or {}), _CONTEXT: dict(self.extra or {})}
        return msg, kwargs

    def bind(self, **ctx: UserValue) -> Self:
        """Return a logger with more context."""
        return type(self)(self.logger, {**(self.extra or {}), **ctx})


def bind_task(name: str | None = None, *, task_id: str | None = None, **ctx: UserValue) -> TaskLogger:
    """Return a logger whose lines name a task.

    Parameters
    ----------
    name : str, optional
        A name for the logger; or, alone, a task's id.
    task_id : str, optional
        The task. In a task, if not given, the one that runs.
    **ctx
        Anything else that each line is to have.

    Returns
    -------
    TaskLogger
        A ``logging.LoggerAdapter``.

    Examples
    --------
    >>> bind_task("result-checker", task_id="2e02bb27-15c9-41ec-a1bc-2f4a8a8a8a8a:0", attempt=1).extra["attempt"]
    1
    """
    if task_id is None and name is not None and _TASK_ID.fullmatch(name):
        name, task_id = None, str(name)
    if task_id is None:
        running = get_context()
        if running.dispatch_id is not None:
            task_id = f"{running.dispatch_id}:{running.task_id}"
    bound = ctx if task_id is None else {"task_id": str(task_id), **ctx}
    return TaskLogger(logging.getLogger(f"{ROOT}.{name}" if name else ROOT), bound)


@contextmanager
def task_context(task_id: str, operation: str) -> Iterator[TaskLogger]:
    """Log the begin and the end of an operation on a task, how long it took, and whether it failed."""
    logger = bind_task(task_id=task_id, operation=operation)
    logger.info("%s: begun", operation)
    began = time.perf_counter()
    try:
        yield logger
    except BaseException as error:  # the user's code, also when it is interrupted
        seconds = round(time.perf_counter() - began, 3)
        logger.bind(seconds=seconds).error("%s: failed after %g s: %s", operation, seconds, type(error).__name__)
        raise
    seconds = round(time.perf_counter() - began, 3)
    logger.bind(seconds=seconds).info("%s: ended after %g s", operation, seconds)


def configure(level: int | str = "INFO", *, as_json: bool = False, stream: TextIO | None = None) -> None:
    """Write the log lines about tasks, and only those, to a stream; called again, it replaces the earlier settings.

    Parameters
    ----------
    level : int or str, default "INFO"
        The lowest level that is written, e.g. ``"DEBUG"``.
    as_json : bool, default False
        Write one JSON object for each line.
    stream : file object, optional
        Where to; default: ``sys.stderr``, as it is when a line is written.

    Raises
    ------
    ValueError
        If there is no such level.
    """
    logger = logging.getLogger(ROOT)
    logger.setLevel(level.upper() if isinstance(level, str) else level)
    for handler in [handler for handler in logger.handlers if isinstance(handler, _Handler)]:
        logger.removeHandler(handler)
    handler = _Handler(stream)
    handler.setFormatter(_AsJson() if as_json else _AsText())
    logger.addHandler(handler)
    logger.propagate = False


class _Handler(logging.Handler):
    """Handler that writes to a stream, or to `sys.stderr` of the moment: in a task, that changes."""

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__()
        self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        try:
            print(self.format(record), file=self._stream or sys.stderr, flush=True)
        except Exception:  # noqa: BLE001 - a line that cannot be written must not end the task
            self.handleError(record)


def _bound(record: logging.LogRecord) -> FieldDict:
    return getattr(record, _CONTEXT, {})


class _AsText(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        words = "".join(f" {key}={value}" for key, value in _bound(record).items())
        text = (
            f"{Timestamp.at(round(record.created, 3))} {record.levelname} {record.name}{words}: {record.getMessage()}"
        )
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


class _AsJson(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {"time": Timestamp.at(record.created), "level": record.levelname, "logger": record.name}
        line |= {"message": record.getMessage(), **_bound(record)}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)
