"""Messages between a kernel on another host and the Jupyter server whose routes it uses."""

from __future__ import annotations

import msgspec

from covalab.core.model import Environment

PIECE_BYTES = 4 * 1024**2
"""The bytes of a value that one request carries."""


class TaskEnvironment(msgspec.Struct, frozen=True):
    """Environment in which the tasks of a far kernel run, and a notice for people if it is not the kernel's own."""

    environment: Environment
    notice: str = ""


class StoredPart(msgspec.Struct, frozen=True):
    """How much of a value is at the server; of one that is whole, `offset` is its size."""

    offset: int
    is_whole: bool
