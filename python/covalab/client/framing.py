"""Frames on a stream: four bytes of length, then that many bytes. Used between the dispatcher and its pools."""

from __future__ import annotations

import asyncio
from typing import Final

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
    writer.write(len(data).to_bytes(_LENGTH_BYTES, "big") + data)
