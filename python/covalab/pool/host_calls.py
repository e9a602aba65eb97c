"""Functions that a pool calls on workers that do not see its data folder. They return a text if they cannot do it.

Dask pickles functions by name, so these are small; a worker gets them only if it has the same covalab.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
from distributed import Worker

from covalab.core.carriage import CacheSettings, Part
from covalab.core.errors import CovalabError
from covalab.core.model import Digest
from covalab.core.worker_protocol import TO_WORKER
from covalab.pool.dask_tasks import cache_of, jobs_of
from covalab.worker.capture import OUTPUT_LIMIT
from covalab.worker.host_cache import HostCache

_HALF: Final = OUTPUT_LIMIT // 2
PIECE_BYTES: Final = _HALF
"""The most of a file of output that travels at once."""
SUFFIXES: Final = (".out", ".err", ".display")


class Opened(msgspec.Struct, frozen=True):
    """The cache of a worker's host: what no other has; or why there is none."""

    id: str = ""
    trouble: str = ""


class Read(msgspec.Struct, frozen=True, array_like=True):
    """Position up to which a file of output is known."""

    stem: str
    positions: list[int]


class Printed(msgspec.Struct, frozen=True, array_like=True):
    """Output after such a position: for each file where it begins, and the bytes."""

    stem: str
    pieces: list[tuple[int, bytes]]


def open_cache(settings: bytes, dask_worker: Worker) -> bytes:
    """Make the cache folder of this host, or join it. Return an `Opened`."""
    try:
        cache = cache_of(dask_worker, msgspec.msgpack.decode(settings, type=CacheSettings))
    except OSError as error:
        return msgspec.msgpack.encode(Opened(trouble=f"{error} (on {os.uname().nodename})"))
    return msgspec.msgpack.encode(Opened(cache.id))


async def read_parts(parts: bytes, kept: Sequence[Digest], dask_worker: Worker) -> bytes | str:
    """Return pieces of values one after the other, and note which values the data folder has."""
    try:
        cache = cache_of(dask_worker)
        wanted = msgspec.msgpack.decode(parts, type=list[Part])
        return await asyncio.to_thread(_read, cache, wanted, kept)
    except (OSError, CovalabError) as error:
        return f"{type(error).__name__}: {error}"


def _read(cache: HostCache, wanted: list[Part], kept: Sequence[Digest]) -> bytes:
    cache.kept(kept)
    return cache.read(wanted) if wanted else b""


async def take(owner: str, part: bytes, data: bytes, messages: Sequence[bytes], dask_worker: Worker) -> str:
    """Take a piece of a value, then messages that it is awaited for."""
    try:
        if part:
            piece = msgspec.msgpack.decode(part, type=Part)
            await asyncio.to_thread(cache_of(dask_worker).write, owner, piece, data)
        for message in messages:
            jobs_of(dask_worker).handle(TO_WORKER.decode(message))
    except (OSError, CovalabError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


async def read_output(known: bytes, dask_worker: Worker) -> bytes:
    """Return what running tasks have printed and displayed after positions, as a list of `Printed`."""
    wanted = msgspec.msgpack.decode(known, type=list[Read])
    with suppress(OSError):
        spool = cache_of(dask_worker).folder / "spool"
        return msgspec.msgpack.encode(await asyncio.to_thread(lambda: [_printed(spool, one) for one in wanted]))
    return msgspec.msgpack.encode([])


def _printed(spool: Path, known: Read) -> Printed:
    pieces: list[tuple[int, bytes]] = []
    for suffix, position in zip(SUFFIXES, known.positions, strict=True):
        try:
            fd = os.open(spool / Path(f"{known.stem}{suffix}").name, os.O_RDONLY)
        except OSError:
            pieces.append((position, b""))
            continue
        try:
            size = os.fstat(fd).st_size
            if size < position:  # it was emptied
                position = 0  # noqa: PLW2901 - from here on
            # Beginning and end of a text are shown, so the middle of a flood does not travel.
            if suffix != ".display" and position >= _HALF and size - position > _HALF:
                position = size - _HALF  # noqa: PLW2901
            pieces.append((position, os.pread(fd, PIECE_BYTES, position)))
        finally:
            os.close(fd)
    return Printed(known.stem, pieces)
