"""How many names stand on the left of ``a, b = electron``.

An electron has no value yet, so it cannot say how long it is; the instruction that asks it can. Only tuple unpacking
has a number: every other way of iterating is the caller's to refuse.
"""

from __future__ import annotations

import opcode
from types import FrameType
from typing import Final

_UNPACK: Final = opcode.opmap["UNPACK_SEQUENCE"]
_UNPACK_STARRED: Final = opcode.opmap["UNPACK_EX"]
_EXTENDED: Final = opcode.opmap["EXTENDED_ARG"]


def unpacked_count(frame: FrameType) -> int | None:
    """Return how many names `frame` is unpacking into right now; None if it is doing something else."""
    # `co_code` is the plain code whatever the interpreter has specialised or instrumented since.
    code, at = frame.f_code.co_code, frame.f_lasti
    if at < 0 or code[at] != _UNPACK:
        return None
    count, shift = code[at + 1], 8
    while at >= 2 and code[at - 2] == _EXTENDED:
        at -= 2
        count |= code[at + 1] << shift
        shift += 8
    return count


def is_starred(frame: FrameType) -> bool:
    """Tell whether `frame` is unpacking into names of which one has a star."""
    return frame.f_lasti >= 0 and frame.f_code.co_code[frame.f_lasti] == _UNPACK_STARRED
