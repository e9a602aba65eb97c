"""Functions that a pool calls on workers that do not see its data folder. They return a text if they cannot do it.

Dask pickles functions by name, so these are small; a worker gets them only if it has the same covalab.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Literal

import msgspec
from distributed import Worker
from distributed.protocol.pickle import dumps

from covalab.core.carriage import MOST_BYTES, CacheSettings, Part
from covalab.core.errors import BlobDamaged, CovalabError
from covalab.core.model import Digest
from covalab.core.worker_protocol import TO_WORKER
from covalab.pool.dask_tasks import cache_of, jobs_of
from covalab.pool.object_store import ObjectGone, StoreUnusable, each, joined
from covalab.worker.capture import OUTPUT_LIMIT
from covalab.worker.host_cache import HostCache

_HALF: Final = OUTPUT_LIMIT // 2
PIECE_BYTES: Final = _HALF
"""The most of a file of output that travels at once."""
PEER_SECONDS: Final = 5.0
"""The time in which another host is to answer first; one that is not reached from here gives nothing."""
PIECE_SECONDS: Final = 60.0
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


class Transfer(msgspec.Struct, frozen=True, array_like=True):
    """End of a transfer between a host and the object store or another host: what went wrong, and with what."""

    trouble: str = ""
    blame: Literal["", "source", "value", "host"] = ""


async def join_store(place: bytes) -> str:
    """Look whether this worker sees the object store of a pool."""
    try:
        await asyncio.to_thread(lambda: joined(place).join())
    except StoreUnusable as error:
        return str(error)
    return ""


async def put_into_store(place: bytes, digests: Sequence[Digest], kept: Sequence[Digest], dask_worker: Worker) -> bytes:
    """Put values of this host into the object store. Return a list of `Transfer`."""

    def put(digest: Digest) -> Transfer:
        with _ended() as end:
            joined(place).put(digest, cache.file(digest))
        return end[0]

    cache = cache_of(dask_worker)
    cache.kept(kept)
    return msgspec.msgpack.encode(await asyncio.to_thread(each, put, digests))


async def take_from_store(place: bytes, owner: str, digest: Digest, size: int, dask_worker: Worker) -> bytes:
    """Bring a value from the object store to this host. Return a `Transfer`."""

    def take() -> Transfer:
        with _ended() as end, cache.incoming(owner, digest, size) as path:
            joined(place).get(digest, path)
        return end[0]

    cache = cache_of(dask_worker)
    return msgspec.msgpack.encode(await asyncio.to_thread(take))


async def take_from_peer(peer: str, owner: str, digest: Digest, size: int, dask_worker: Worker) -> bytes:
    """Bring a value from the cache of another host to this one. Return a `Transfer`."""
    part, limit = MOST_BYTES // 4, PEER_SECONDS
    with _ended() as end, cache_of(dask_worker).incoming(owner, digest, size) as path:
        await asyncio.to_thread(path.touch, 0o600)
        for offset in range(0, size, part):
            wanted = msgspec.msgpack.encode([Part(digest, size, offset, min(part, size - offset))])
            data = await asyncio.wait_for(_asked(dask_worker, peer, read_parts, wanted, []), limit)
            if isinstance(data, str):
                raise ObjectGone(data)
            await asyncio.to_thread(_append, path, data)
            limit = PIECE_SECONDS
    return msgspec.msgpack.encode(end[0])


async def _asked(worker: Worker, peer: str, function: Callable[..., Any], *args: Any) -> Any:
    """Call one of these functions on another worker."""
    try:
        answer = await worker.rpc(peer).run(function=dumps(function), args=dumps(args), kwargs=dumps({}))
    except OSError as error:
        message = f"{peer} is not reached from {worker.address}: {type(error).__name__}: {error}"
        raise StoreUnusable(message) from error
    if answer["status"] != "OK":
        message = f"{peer}: {answer.get('exception_text')}"
        raise StoreUnusable(message)
    return answer["result"]


def _append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


@contextmanager
def _ended() -> Iterator[list[Transfer]]:
    """Give a list that has the end of the transfer after the block."""
    end: list[Transfer] = []
    try:
        yield end
    except (StoreUnusable, TimeoutError, asyncio.TimeoutError) as error:  # two classes before Python 3.11
        end.append(Transfer(str(error) or "it did not answer in time", "source"))
    except (ObjectGone, BlobDamaged) as error:
        end.append(Transfer(str(error), "value"))
    except (OSError, CovalabError) as error:
        end.append(Transfer(f"{type(error).__name__}: {error}", "host"))
    else:
        end.append(Transfer())


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
