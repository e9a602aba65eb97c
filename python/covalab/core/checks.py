"""Check of the bytes that a value carries: those of files have a digest. Pure, and without pickling."""

from __future__ import annotations

import zlib

from covalab.core.model import Value


def is_whole(value: Value) -> bool:
    """Whether the bytes that a value carries are those that were serialized; of a blob, nothing is known here.

    Examples
    --------
    >>> is_whole(Value(1, "int", "1", b"1")), is_whole(Value(1, "int", "1", b"1", check=zlib.crc32(b"2")))
    (True, False)
    """
    return value.data is None or value.check < 0 or zlib.crc32(value.data) == value.check
