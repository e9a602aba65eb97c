"""Count of the names on the left of ``a, b = electron``.

An electron has no value yet, so its length is not known; the instruction that unpacks it has a number. Every other way
of iterating has none: that is the caller's to refuse.
"""

from __future__ import annotations

import opcode
from types import FrameType
from typing import Final

_UNPACK: Final = opcode.opmap["UNPACK_SEQUENCE"]
_UNPACK_STARRED: Final = opcode.opmap["UNPACK_EX"]
_FOR_ITER: Final = opcode.opmap["FOR_ITER"]
_EXTENDED: Final = opcode.opmap["EXTENDED_ARG"]


def unpacked_count(frame: FrameType) -> int | None:
    """Return how many names `frame` is unpacking into right now; None if it is doing something else."""
    operation, count = _instruction(frame)
    return count if operation == _UNPACK else None


def is_starred(frame: FrameType) -> bool:
    """Return whether `frame` is unpacking into names of which one has a star."""
    return _instruction(frame)[0] == _UNPACK_STARRED


def is_looped(frame: FrameType) -> bool:
    """Return whether `frame` takes items one by one, in a loop or for a function of several arguments.

    Covalent's answer to that is a number of items that comes from the byte code, and all others get none.
    """
    operation, number = _instruction(frame)
    return operation == _FOR_ITER or number >= 2


def _instruction(frame: FrameType) -> tuple[int, int]:
    """Return what `frame` is doing now, and the number that belongs to it."""
    # `co_code` is the plain code whatever the interpreter has specialised or instrumented since.
    code, at = frame.f_code.co_code, frame.f_lasti
    # A number above 255 has its upper bytes in front; Python 3.10 points to the first of them, later ones to the last.
    while at >= 2 and code[at - 2] == _EXTENDED:
        at -= 2
    number = code[at + 1]
    while code[at] == _EXTENDED:
        at += 2
        number = number << 8 | code[at + 1]
    return code[at], number
