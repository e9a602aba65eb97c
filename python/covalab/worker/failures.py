"""Failures of tasks: what an exception says to the author of the task, with the lines that are theirs."""

from __future__ import annotations

import asyncio
import traceback
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final

from covalab.core.codec import USERS_ERRORS, class_name, printable, serialize_small
from covalab.core.errors import STORAGE_ERRORS, BlobDamaged, CovalabError, DepsFailed, RecordNotReadable, ValueLost
from covalab.core.model import Digest, ErrorType, Failure, Value

_OURS: Final = Path(__file__).parent
# A sublattice is built by these; its user wrote none of them.
_BUILDS: Final = tuple(
    str(_OURS.parent / "sdk" / name) for name in ("building/sublattice.py", "building/submit.py", "building/lattice.py")
)
_NOT_THE_USERS: Final = (  # frames that a traceback does not show at its top
    str(_OURS),
    *_BUILDS,
    str(_OURS.parent / "executors"),
    str(Path(asyncio.__file__).parent),
)
_MESSAGE_LIMIT: Final = 10_000
_TRACEBACK_LIMIT: Final = 100_000
_EXCEPTION_LIMIT: Final = 16_000  # its bytes travel and are kept with the failure


def failure_of(error: BaseException, type_: ErrorType) -> Failure:
    """Return the failure that describes an exception to the author of the task."""
    kind = type(error)
    damaged: tuple[Digest, ...] = ()
    # Of a value that was deleted, a task may ask by itself; what the disk has spoiled is never the task's fault.
    is_outside = type_ != "runtime" and isinstance(error, STORAGE_ERRORS)
    if is_outside or isinstance(error, BlobDamaged | RecordNotReadable):
        type_ = "storage"
        if isinstance(error, ValueLost) and error.digest:
            damaged = (Digest(error.digest),)
    kinds = tuple(map(class_name, kind.__mro__[:-1]))
    exception = kinds[0]
    message = "(its text cannot be made: __str__ raised)"
    with suppress(*USERS_ERRORS):  # __str__ is the user's code
        message = _cut(str(error), _MESSAGE_LIMIT)
    # The user's frames are in the cause; those of the hook runner are of no use to them.
    if isinstance(error, DepsFailed):
        cause = error.__cause__
        of_cause = "" if cause is None or isinstance(cause, CovalabError) else failure_of(cause, "deps").traceback
        return Failure("deps", message, exception, f"{of_cause}{kind.__name__}: {message}\n")
    # covalab's own errors say everything in their message; a traceback through covalab would hide it.
    if type_ != "runtime" and isinstance(error, CovalabError):
        return Failure(type_, message, exception, f"{kind.__name__}: {message}\n", kinds, damaged=damaged)
    text = f"{exception}: {message}\n"
    with suppress(*USERS_ERRORS):  # so are the `repr`s that a traceback shows
        text = "".join(traceback.format_exception(kind, error, _users_frames(error.__traceback__)))
    return Failure(type_, message, exception, _cut(text, _TRACEBACK_LIMIT), kinds, _serialized_exception(error))


def _serialized_exception(error: BaseException) -> Value | None:
    """Serialize an exception for `TaskError.exception`; None if that fails, or is too large."""
    with suppress(*USERS_ERRORS):  # its __reduce__ is the user's code
        value = serialize_small(error, text="")
        if value.size <= _EXCEPTION_LIMIT:
            return value
    return None


def _cut(text: str, limit: int) -> str:
    """Cut the middle out of a text that is too long, such as an error that quotes a table."""
    half = limit // 2
    if len(text) > limit:
        text = f"{text[:half]}\n… {len(text) - 2 * half:,} characters left out …\n{text[-half:]}"
    return printable(text, len(text))


def _users_frames(trace: TracebackType | None) -> TracebackType | None:
    """Remove the frames of this package, and of the event loop it starts, from the top of a traceback."""
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_NOT_THE_USERS):
        trace = trace.tb_next
    return trace
