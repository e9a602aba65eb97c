"""Carriage: what is asked and answered about values of a data folder that a worker does not see."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from covalab.core.model import Digest
from covalab.core.protocol import decoder


class Fetch(msgspec.Struct, frozen=True, tag="fetch"):
    """Question for a blob; it is in the cache when the answer comes."""

    digest: Digest


class Keep(msgspec.Struct, frozen=True, tag="keep"):
    """Question whether the data folder has a blob, which then counts as just used."""

    digest: Digest
    size: int


class Runs(msgspec.Struct, frozen=True, tag="runs"):
    """Question for the runs of a key in the index of reuse."""

    key: str


class AddRun(msgspec.Struct, frozen=True, tag="add_run"):
    """Request to add a run to the index of reuse."""

    key: str
    dispatch: str
    data: bytes


class Reply(msgspec.Struct, frozen=True, array_like=True):
    """Answer to a question. `trouble` says what went wrong, `kind` which error that is (`ERRORS`)."""

    found: bool = True
    runs: list[bytes] = []
    trouble: str = ""
    kind: str = ""


class CacheSettings(msgspec.Struct, frozen=True):
    """Cache of a host: where it is (empty: beside the worker's own folder), its limit, whether it outlives workers."""

    folder: str = ""
    size: int = 10 * 10**9
    stays: bool = False


class Part(msgspec.Struct, frozen=True, array_like=True):
    """Piece of a blob: `length` bytes from `offset` of the `size` that it has."""

    digest: Digest
    size: int
    offset: int
    length: int


QUESTION: Final[Any] = decoder(Fetch | Keep | Runs | AddRun)
REPLY: Final[Any] = decoder(Reply)


def next_parts(size: int, most: int) -> list[tuple[int, int]]:
    """Return offset and length of the pieces in which a blob travels.

    Examples
    --------
    >>> next_parts(10, 4)
    [(0, 4), (4, 4), (8, 2)]
    """
    return [(offset, min(most, size - offset)) for offset in range(0, size, most)]


def part_bytes(before: int, seconds: float) -> int:
    """Return how large pieces may be after one took so long: about half a second each, however slow the line is.

    Examples
    --------
    >>> part_bytes(1 << 20, 0.01), part_bytes(1 << 20, 1.0), part_bytes(1 << 20, 20.0)
    (2097152, 1048576, 524288)
    """
    if seconds < _QUICK_SECONDS:
        return min(before * 2, MOST_BYTES)
    return max(before // 2, LEAST_BYTES) if seconds > _SLOW_SECONDS else before


LEAST_BYTES: Final = 1 << 18
MOST_BYTES: Final = 1 << 23
_QUICK_SECONDS: Final = 0.25
_SLOW_SECONDS: Final = 2.0
