"""Carried values in a task process: what the cache lacks is asked for, what it gets is offered, through the channel."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from covalab.carrier import carriers
from covalab.core.carriage import REPLY, AddRun, Fetch, Keep, Reply, Runs
from covalab.core.errors import BlobDamaged, BlobNotFound, DataFolderError
from covalab.core.model import Digest
from covalab.worker import channel as kinds
from covalab.worker.channel import Channel

ERRORS: Final = {"gone": BlobNotFound, "damaged": BlobDamaged}
"""The error that a `Reply.kind` becomes; any other is a `DataFolderError`."""
_NUMBER: Final = 4
_AHEAD_BYTES: Final = 512 * 1024**2
"""Bytes that a task may have written and the data folder does not have yet; then it waits for the line."""
_WAIT_SECONDS: Final = 0.02


class ChannelCarrier:
    """Carrier over the channel of a task process.

    Parameters
    ----------
    channel
        The channel to the worker.
    folder
        The cache folder.
    """

    def __init__(self, channel: Channel, folder: Path) -> None:
        self._channel = channel
        self._folder = folder
        self._offered_folder = folder / "offered"
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._waiting: dict[int, tuple[threading.Event, list[Reply]]] = {}
        self._offered: OrderedDict[Digest, int] = OrderedDict()

    def fetch(self, digest: Digest) -> None:
        """Bring a blob into the cache."""
        reply = self._ask(Fetch(digest))
        if not reply.found:
            if reply.kind in ERRORS:
                raise ERRORS[reply.kind](reply.trouble, digest)
            raise DataFolderError(reply.trouble)

    def offer(self, digest: Digest, size: int) -> None:
        """Bring a blob of the cache to the data folder; wait while much is on the way."""
        with suppress(FileExistsError):
            os.link(self._folder / "blobs" / digest[:2] / digest, self._offered_folder / digest)
        with self._lock:
            self._offered[digest] = size
        self._channel.send(kinds.OFFER, bytes.fromhex(digest) + size.to_bytes(8, "big"))
        while self._ahead() > _AHEAD_BYTES:
            time.sleep(_WAIT_SECONDS)

    def _ahead(self) -> int:
        """Return how many bytes are on the way, beside the newest value."""
        with self._lock:
            if sum(self._offered.values()) > _AHEAD_BYTES:
                for digest in [one for one in self._offered if not (self._offered_folder / one).exists()]:
                    del self._offered[digest]
            return sum(list(self._offered.values())[:-1])

    def keep(self, digest: Digest, size: int) -> bool:
        """Return whether the data folder has a blob."""
        return self._ask(Keep(digest, size)).found

    def touch(self, digest: Digest) -> None:
        """Note that a blob was used. The time of the last change stays: by it, a process knows what it has verified."""
        path = self._folder / "blobs" / digest[:2] / digest
        with suppress(OSError):
            os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))

    def runs(self, key: str) -> list[bytes]:
        """Return the runs of a key."""
        return self._ask(Runs(key)).runs

    def add_run(self, key: str, dispatch: str, data: bytes) -> None:
        """Add a run."""
        reply = self._ask(AddRun(key, dispatch, data))
        if not reply.found:
            raise DataFolderError(reply.trouble)

    def _ask(self, question: msgspec.Struct) -> Reply:
        number = next(self._numbers)
        event: threading.Event = threading.Event()
        replies: list[Reply] = []
        self._waiting[number] = event, replies
        try:
            self._channel.send(kinds.ASK, number.to_bytes(_NUMBER, "big") + msgspec.msgpack.encode(question))
            event.wait()
        finally:
            del self._waiting[number]
        return replies[0]

    def answer(self, data: bytes) -> None:
        """Take an answer: the one who asked goes on."""
        waiting = self._waiting.get(int.from_bytes(data[:_NUMBER], "big"))
        if waiting is not None and not waiting[0].is_set():
            reply: Any = REPLY.decode(data[_NUMBER:])
            waiting[1].append(reply)
            waiting[0].set()


def carrier_of(blobs: str, channel: Channel) -> ChannelCarrier:
    """Return the carrier of a cache's blob folder, which `BlobStore` finds from now on."""
    found = carriers.get(blobs)
    if not isinstance(found, ChannelCarrier):
        found = carriers[blobs] = ChannelCarrier(channel, Path(blobs).parent)
    return found
