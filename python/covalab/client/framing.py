"""Frames on a stream: four bytes of length, then that many bytes. Used between the dispatcher and its pools."""

from __future__ import annotations

import asyncio
from typing import BinaryIO, Final

_LENGTH_BYTES: Final = 4
FRAME_LIMIT: Final = 1 << 30


async def read_frame(reader: asyncio.StreamReader) -> bytes | None:
    """Read one frame; None when the other side is gone, also in the middle of a frame.

    Raises
    ------
    ValueError
        If the frame claims to be longer than anything that is sent: the other side is not one of ours.
    """
    try:
        length = int.from_bytes(await reader.readexactly(_LENGTH_BYTES), "big")
        if length > FRAME_LIMIT:
            message = f"a frame of {length:,} bytes was announced, the limit is {FRAME_LIMIT:,}"
            raise ValueError(message)
        return await reader.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def write_frame(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Queue one frame for sending."""
    writer.write(frame_of(data))


def frame_of(data: bytes) -> bytes:
    """Return data as a frame, for a socket that blocks."""
    return len(data).to_bytes(_LENGTH_BYTES, "big") + data


def read_blocking(file: BinaryIO) -> bytes | None:
    """Read one frame from a file over a socket that blocks; None when the other side is gone."""
    head = file.read(_LENGTH_BYTES)
    length = int.from_bytes(head, "big")
    data = file.read(length) if len(head) == _LENGTH_BYTES else None
    return data if data is not None and len(data) == length else None
