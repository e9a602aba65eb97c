"""Values between a pool and workers that do not see its data folder: ways, pieces, damage, and what waits for them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest

from covalab.blobs import BlobStore
from covalab.core.carriage import MOST_BYTES, CacheSettings, Part
from covalab.core.codec import digest_of
from covalab.core.model import Digest
from covalab.core.protocol import Outcomes
from covalab.core.worker_protocol import Job, JobDone, ValueOffered
from covalab.pool import host_calls
from covalab.pool.carried_link import CarriedLink
from covalab.pool.links import DaskLink
from covalab.pool.route import NoAnswer, Route
from covalab.pool.value_line import ValueLine


class FakeClient:
    """Dask client whose workers are reached in some ways only."""

    id = "me"

    def __init__(self, *, direct: int, scheduler: int) -> None:
        """Take how many calls fail in each way before they succeed."""
        self.fails = {"direct": direct, "scheduler": scheduler}
        self.calls: list[str] = []

    def subscribe_topic(self, *_: object) -> None:
        """Do nothing."""

    def _call(self, way: str) -> None:
        self.calls.append(way)
        if self.fails[way]:
            self.fails[way] -= 1
            message = "no way"
            raise OSError(message)

    async def run(self, function: Callable[..., Any], *args: Any, workers: list[str]) -> dict[str, Any]:
        """Call through the scheduler."""
        self._call("scheduler")
        return dict.fromkeys(workers, function(*args))

    def rpc(self, _: str) -> Any:
        """Return the way to the worker itself."""
        client = self

        class Rpc:
            async def run(self, **_: bytes) -> dict[str, Any]:
                client._call("direct")
                return {"status": "OK", "result": 7}

        return Rpc()


@pytest.mark.parametrize(
    ("direct", "scheduler", "calls"),
    [
        (0, 0, ["direct", "direct"]),
        (9, 0, ["direct", "scheduler", "scheduler"]),
        (9, 1, ["direct", "scheduler"]),
    ],
)
def test_the_first_way_that_works_is_taken(direct: int, scheduler: int, calls: list[str]) -> None:
    """Straight to the worker, or through the scheduler; without either it is an error."""
    client = FakeClient(direct=direct, scheduler=scheduler)
    route = Route(client, "w")  # type: ignore[arg-type] # as much of a client as it needs

    async def both() -> None:
        await route.find(len, "sevenny")
        assert await route.call(len, "sevenny") == 7

    if scheduler:
        with pytest.raises(OSError, match="no way"):
            asyncio.run(both())
    else:
        asyncio.run(both())
    assert client.calls == calls


def test_a_call_is_made_again_until_it_succeeds_or_the_worker_is_gone() -> None:
    """In both ways by turns."""
    client = FakeClient(direct=2, scheduler=1)
    route = Route(client, "w")  # type: ignore[arg-type]
    assert asyncio.run(route.call(len, "sevenny")) == 7
    assert client.calls == ["direct", "scheduler", "direct", "scheduler"]
    route.is_open = False
    with pytest.raises(NoAnswer):
        asyncio.run(route.call(len, "sevenny"))


class FarHost:
    """Route to a host that has values, and spoils or lacks some."""

    def __init__(self, values: dict[Digest, bytes]) -> None:
        self.values = values
        self.is_open = True
        self.kept: list[Digest] = []
        self.taken: dict[Digest, bytearray] = {}
        self.largest = 0

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Answer as the functions of `host_calls` do."""
        await asyncio.sleep(0)
        if function is host_calls.read_parts:
            parts = msgspec.msgpack.decode(args[0], type=list[Part])
            self.kept += args[1]
            if any(part.digest not in self.values for part in parts):
                return "FileNotFoundError: it is gone"
            found = b"".join(self.values[part.digest][part.offset : part.offset + part.length] for part in parts)
            self.largest = max(self.largest, len(found))
            return found
        part = msgspec.msgpack.decode(args[1], type=Part)
        assert len(args[2]) == part.length
        self.taken.setdefault(part.digest, bytearray()).extend(args[2])
        return ""


def line_to(host: FarHost, blobs: BlobStore, tasks: list[Awaitable[None]]) -> ValueLine:
    """Return a line to a host."""

    def spawn(work: Coroutine[Any, Any, None]) -> None:
        tasks.append(asyncio.ensure_future(work))

    return ValueLine(host, "cache", blobs, spawn)  # type: ignore[arg-type] # as much of a route as it needs


def test_values_come_home_whole_or_not_at_all(tmp_path: Path) -> None:
    """Of any size; one that is spoilt or gone is waited for no longer, and is not there."""
    blobs = BlobStore(tmp_path / "blobs")
    contents = [os.urandom(n) for n in (70_000, 2_000_000, 200_000, MOST_BYTES * 2 + 1, 66_000)]
    values = {digest_of([content]): content for content in contents}
    spoilt = {digest_of([os.urandom(9)]): os.urandom(n) for n in (80_000, 5_000_000)}
    gone = digest_of([b"gone"])
    host = FarHost({**values, **spoilt})
    ended: list[Digest] = []

    async def pull() -> None:
        tasks: list[Awaitable[None]] = []
        line = line_to(host, blobs, tasks)
        for digest, size in [*((one, len(value)) for one, value in host.values.items()), (gone, 5)]:
            line.pull(digest, size, lambda digest=digest: ended.append(digest))  # type: ignore[misc]
        while tasks:
            await tasks.pop()

    asyncio.run(pull())
    assert sorted(ended) == sorted([*host.values, gone])
    assert {digest: bytes(blobs.read(digest)) for digest in values} == values
    assert not any(digest in blobs for digest in [*spoilt, gone])
    assert sorted(host.kept) == sorted(values)
    assert host.largest <= MOST_BYTES
    assert not list((tmp_path / "blobs").glob("??/.*"))


@pytest.mark.parametrize("size", [70_000, MOST_BYTES + 1])
def test_values_go_out_in_pieces(tmp_path: Path, size: int) -> None:
    """And are what they were."""
    blobs = BlobStore(tmp_path / "blobs")
    value = blobs.serialize(os.urandom(size))
    assert value.digest is not None
    host = FarHost({})
    asyncio.run(line_of(host, blobs).push("me", value.digest))
    assert host.taken == {value.digest: blobs.path(value.digest).read_bytes()}


def line_of(host: FarHost, blobs: BlobStore) -> ValueLine:
    """Return a line that nothing is pulled over."""
    return line_to(host, blobs, [])


class Receiver:
    """Listener that keeps what it gets."""

    def __init__(self) -> None:
        self.messages: list[Any] = []

    def on_worker_message(self, message: Any, frame: bytes) -> None:
        """Keep a message."""
        del frame
        self.messages.append(message)

    def on_line_lost(self, worker: str) -> None:
        """Do nothing."""


def test_a_report_waits_for_the_values_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And for no others; of a batch that is over nothing is passed on."""
    monkeypatch.setattr(DaskLink, "run", lambda *_: None)
    receiver = Receiver()
    waiting: dict[int, Callable[[], None]] = {}

    class Line:
        """Line that ends a pull when the test says so."""

        cache = "cache"

        def pull(self, _: Digest, size: int, on_end: Callable[[], None]) -> None:
            """Keep what is to be called."""
            waiting[size] = on_end

    link = CarriedLink(
        FakeClient(direct=0, scheduler=0),  # type: ignore[arg-type]
        receiver,
        lambda work: work.close(),
        [],
        blobs=BlobStore(tmp_path / "blobs"),
        spool=tmp_path,
        settings=CacheSettings(),
    )
    link._lines["w"] = Line()  # type: ignore[assignment]
    for number in (1, 2):
        link.run("w", Job("me", number, "root", "", b""), {})
    reports = [Outcomes(1, bytes([number])) for number in range(4)]
    link.on_worker_message(reports[0], b"")
    for size in (10, 20):
        link.on_worker_message(ValueOffered(1, Digest("d"), size), b"")
    link.on_worker_message(reports[1], b"")
    link.on_worker_message(ValueOffered(1, Digest("d"), 30), b"")
    link.on_worker_message(reports[2], b"")
    link.on_worker_message(Outcomes(2, b""), b"")
    link.on_worker_message(Outcomes(3, b""), b"")
    assert receiver.messages == [reports[0], Outcomes(2, b""), Outcomes(3, b"")]

    waiting[30]()
    waiting[10]()
    assert len(receiver.messages) == 3
    waiting[20]()
    assert receiver.messages[3:] == reports[1:3]
    link.on_worker_message(ValueOffered(1, Digest("d"), 40), b"")
    link.on_worker_message(JobDone(1), b"")
    link.forget(1)
    waiting[40]()
    assert len(receiver.messages) == 5
