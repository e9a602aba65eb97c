"""Tracebacks without the frames that tell a user nothing."""

from __future__ import annotations

from collections.abc import Callable
from types import FrameType, TracebackType


def without_frames(trace: TracebackType | None, is_left_out: Callable[[FrameType], bool]) -> TracebackType | None:
    """Return a traceback of the frames that are not left out; None if there are none."""
    if trace is None:
        return None
    below = without_frames(trace.tb_next, is_left_out)
    if is_left_out(trace.tb_frame):
        return below
    return TracebackType(below, trace.tb_frame, trace.tb_lasti, trace.tb_lineno)
