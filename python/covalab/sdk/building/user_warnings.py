"""Warnings about a line of the user's program, wherever in building it is found out."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from types import FrameType
from typing import Final, NamedTuple

_PACKAGE: Final = str(Path(__file__).parents[2])


class Line(NamedTuple):
    """Line of a program."""

    file: str
    number: int


def warn_user(message: str) -> None:
    """Warn of the line of the user's program that is running; of one line with one text once, as usual."""
    frame = _user_frame()
    if frame is None:
        warnings.warn(message, UserWarning, stacklevel=2)
        return
    space = frame.f_globals
    registry = space.setdefault("__warningregistry__", {})
    line = frame.f_lineno
    warnings.warn_explicit(message, UserWarning, frame.f_code.co_filename, line, space.get("__name__"), registry)


def user_line() -> Line | None:
    """Return the line of the user's program that is running."""
    frame = _user_frame()
    return None if frame is None else Line(frame.f_code.co_filename, frame.f_lineno)


def _user_frame() -> FrameType | None:
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - the standard library has no other way to walk up
    while frame is not None and frame.f_code.co_filename.startswith((_PACKAGE, "<frozen")):
        frame = frame.f_back
    return frame
