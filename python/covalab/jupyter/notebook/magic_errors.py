"""Errors of magics: shown with the lines of the notebook that led to them, without those of covalab and IPython."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Final, TypeVar, cast

from IPython.core.error import UsageError

from covalab.core.errors import CovalabError
from covalab.core.tracebacks import without_frames

_Method = TypeVar("_Method", bound=Callable[..., Any])

_OTHERS: Final = sys.stdlib_module_names | {"covalab", "IPython", "cloudpickle", "msgspec"}
_OF_MAGICS: Final = ("<dispatch ", "<answer")  # what a magic evaluates is in its line, which the notebook shows


def shown_briefly(method: _Method) -> _Method:
    """Let IPython show an error of a magic as what is wrong, and where in the notebook.

    The error keeps its type, for programs. What is no error of covalab's own and passed no code of the user is a fault
    of covalab: it is shown whole.
    """

    @functools.wraps(method)
    def told(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return method(self, *args, **kwargs)
        except Exception as error:
            is_meant = isinstance(error, CovalabError) or _is_of_user(error)
            if is_meant and not isinstance(error, UsageError) and not _led_to(error):
                error._render_traceback_ = _Rendering(error, self.shell)  # type: ignore[attr-defined] # IPython's name
            raise

    return cast("_Method", told)


class _Rendering:
    """Text of an error, made when IPython asks for it; pickled it is nothing."""

    def __init__(self, error: BaseException, shell: Any) -> None:
        self._error, self._shell = error, shell

    def __reduce__(self) -> tuple[Any, ...]:
        return (list, ())

    def __call__(self) -> list[str]:
        error = self._error
        lines = _lines_of_user(error.__traceback__)
        if lines is None:
            return [f"{type(error).__name__}: {error}"]
        cause, is_hidden = error.__cause__, error.__suppress_context__
        error.__cause__ = None
        try:
            made: list[str] = self._shell.InteractiveTB.structured_traceback(type(error), error, lines, tb_offset=0)
        finally:
            error.__cause__, error.__suppress_context__ = cause, is_hidden
        return made


def _is_of_user(error: BaseException) -> bool:
    """Return whether an error passed code of the user, or was raised by what stands in the line of the magic."""
    trace = error.__traceback__
    if _lines_of_user(trace) is not None:
        return True
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_code.co_filename.startswith(_OF_MAGICS)


def _led_to(error: BaseException) -> bool:
    """Return whether code of the user raised another error, which this one comes from."""
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return cause is not None and (_lines_of_user(cause.__traceback__) is not None or _led_to(cause))


def _lines_of_user(trace: TracebackType | None) -> TracebackType | None:
    """Return a traceback without the frames of covalab, IPython, Python's library and the lines of magics."""
    return without_frames(trace, _is_of_others)


def _is_of_others(frame: FrameType) -> bool:
    module = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    return module in _OTHERS or frame.f_code.co_filename.startswith(_OF_MAGICS)
