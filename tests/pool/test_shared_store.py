"""Object store of a pool: who can use it, what lies there, and what is said. The store is a folder."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest

from covalab.blobs import BlobStore
from covalab.core.codec import Encoded, digest_of
from covalab.core.model import Digest
from covalab.core.store_place import StorePlace, store_trouble
from covalab.pool import shared_store
from covalab.pool.object_store import ObjectGone, ObjectStore, StoreUnusable, check, joined
from covalab.pool.shared_store import Access, SharedStore
from covalab.pool.whereabouts import HOME, Whereabouts


@pytest.mark.parametrize(
    ("url", "options", "what"),
    [
        ("s3://bucket/prefix", {"endpoint_url": "http://minio:9000", "profile": "me"}, ""),
        ("gs://bucket", {"token": "cloud"}, ""),
        ("gs://bucket", {"token": "ya29.abc"}, "storage_options.token is a secret"),
        ("s3://bucket", {"key": "AKIA"}, "storage_options.key is a secret"),
        ("s3://bucket", {"client_kwargs": {"aws_secret_access_key": "x"}}, "aws_secret_access_key is a secret"),
        ("s3://me:word@bucket/prefix", {}, "has a name, a password or a token in it"),
        ("https://host/container?sig=abc", {}, "has a name, a password or a token in it"),
        ("bucket/prefix", {}, "'bucket/prefix' is none"),
        ("s3://", {}, "is an address such as"),
    ],
)
def test_an_address_without_secrets_is_taken(url: str, options: dict[str, Any], what: str) -> None:
    """Anything else is refused, and a secret is not repeated."""
    found = store_trouble(url, options)
    assert what in found
    assert bool(what) == bool(found)
    assert not any(secret in found for secret in ("ya29", "AKIA", "word@", "sig=abc"))


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("gs://bucket/prefix", r"needs the package gcsfs on .*: run `.* -m pip install 'covalab\[gcs\]'` there"),
        ("az://bucket/prefix", r"needs the package adlfs .*'covalab\[azure\]'"),
        ("sftp://host/folder", r"sftp://host/folder cannot be used on .*ImportError.*paramiko.* Install what it names"),
        ("s4://bucket", r"s4://bucket cannot be used on .*: Protocol not known: s4. Correct data.url"),
        ("file:///proc/nowhere", r"file:///proc/nowhere cannot be used on .*"),
    ],
)
def test_a_store_that_cannot_be_used_says_why(url: str, what: str) -> None:
    """What to install, where, or what to correct."""
    with pytest.raises(StoreUnusable, match=what):
        check(StorePlace(url))


def test_a_probe_leaves_nothing(tmp_path: Path) -> None:
    """An object is written, read and deleted again."""
    check(StorePlace(f"file://{tmp_path}/store"))
    assert list((tmp_path / "store").iterdir()) == []


def test_a_worker_that_sees_another_store_is_found_out(tmp_path: Path) -> None:
    """Its folder has the same name and is not the pool's; one that has been written by another pool, neither."""
    pools = ObjectStore(StorePlace(f"file://{tmp_path}/store", probe="one"))
    with pytest.raises(StoreUnusable, match="is not the same place"):
        pools.join()
    pools.open()
    pools.join()
    with pytest.raises(StoreUnusable, match="is not what was written"):
        joined(msgspec.msgpack.encode(StorePlace(f"file://{tmp_path}/store", probe="two"))).join()
    with pytest.raises(ObjectGone, match="is not in file://"):
        pools.get(digest_of([b"x"]), tmp_path / "x")
    assert (tmp_path / "store").stat().st_mode & 0o777 == 0o700


class Pool:
    """A data folder with a store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.blobs = BlobStore(folder / "blobs")
        self.tasks: list[Awaitable[Any]] = []
        self.changes: list[str] = []
        place = StorePlace(f"file://{folder}/store")
        self.store = SharedStore(place, folder, self.blobs, self.spawn, lambda: self.changes.append("change"))

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run something in the background."""
        self.tasks.append(asyncio.ensure_future(work))

    async def settle(self) -> None:
        """Wait for it."""
        while self.tasks:
            await self.tasks.pop()

    def put(self, content: bytes) -> Digest:
        """Write a blob."""
        return self.blobs.put(Encoded([content], len(content)))

    def objects(self) -> set[str]:
        """Return what is in the store."""
        return {path.name for path in (self.folder / "store").glob("*/*")}

    def leases(self) -> list[Path]:
        """Return the files that say who uses it."""
        return [*(self.folder / "logs" / "stores").glob("*")]


def test_values_go_there_and_come_back_whole_or_not_at_all(tmp_path: Path) -> None:
    """Once each; what is not what it was is not taken, and what no dispatch uses any more is removed."""

    async def travel() -> None:
        pool = Pool(tmp_path)
        assert await pool.store.open()
        contents = [os.urandom(n) for n in (1, 70_000, 3_000_000)]
        digests = [pool.put(content) for content in contents]
        values = [(digest, len(content)) for digest, content in zip(digests, contents, strict=True)]
        assert all(await asyncio.gather(*(pool.store.put(*value) for value in [*values, *values])))
        assert pool.objects() == {*digests, "probe"}
        assert not await pool.store.put(digest_of([b"no such blob"]), 5)
        spoilt = next((tmp_path / "store").glob(f"*/{digests[1]}"))
        spoilt.write_bytes(b"y" + contents[1][1:])
        next((tmp_path / "store").glob(f"*/{digests[0]}")).unlink()
        for digest in digests:
            pool.blobs.path(digest).unlink()
        assert await pool.store.fetch(values) == {digests[2]}
        assert [*pool.blobs.digests()] == [digests[2]]
        assert bytes(pool.blobs.read(digests[2])) == contents[2]
        assert not list((tmp_path / "blobs").rglob(".*"))
        assert [pool.store.is_there(digest) for digest in digests] == [False, False, True]
        assert not pool.store.home.trouble
        pool.store.forget(digests)
        await pool.settle()
        assert pool.objects() == {"probe"}
        await pool.store.close()
        assert pool.objects() == set()
        assert pool.leases() == []

    asyncio.run(travel())


def test_the_next_pool_removes_what_a_killed_one_has_left(tmp_path: Path) -> None:
    """And nothing of one that lives."""

    async def both() -> None:
        dead, alive, new = Pool(tmp_path), Pool(tmp_path), Pool(tmp_path)
        for pool in (dead, alive):
            await pool.store.open()
            await pool.settle()
            assert await pool.store.put(pool.put(b"left"), 4)
        os.close(dead.store._lease)  # as the system does when its process is killed
        assert len([*(tmp_path / "store").iterdir()]) == 2
        await new.store.open()
        await new.settle()
        left = {path.name for path in (tmp_path / "store").iterdir()}
        assert left == {alive.store._id, new.store._id} == {path.name for path in new.leases()}
        assert alive.objects() == {digest_of([b"left"]), "probe"}

    asyncio.run(both())


def test_what_cannot_be_used_is_said_once_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In the background: values do not wait for it."""
    monkeypatch.setattr(shared_store, "_AGAIN_SECONDS", 0.0)
    troubles = ["", "it is away", "it is away", ""]
    changes: list[str] = []

    async def look() -> None:
        if trouble := troubles.pop(0):
            raise StoreUnusable(trouble)

    async def use() -> None:
        tasks: list[Awaitable[Any]] = []
        access = Access(
            "worker w", look, lambda work: tasks.append(asyncio.ensure_future(work)), lambda: changes.append("")
        )
        found = []
        for lost in (False, True, False, False, False):
            if lost:
                access.lose("it is away")
            found.append(access.is_there)
            while tasks:
                await tasks.pop()
        assert found == [False, False, False, False, True]

    asyncio.run(use())
    said = [record.message for record in caplog.records]
    assert said == [
        "worker w cannot use the object store; values travel over Dask's connection. it is away",
        "worker w can use the object store again",
    ]
    assert len(changes) == 2


def test_a_slow_store_is_taken_for_one_that_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes too long is not waited for."""

    async def slow() -> None:
        pool = Pool(tmp_path)
        await pool.store.open()
        digest = pool.put(b"slow")
        monkeypatch.setattr(shared_store, "_TRY_SECONDS", 0.0)
        monkeypatch.setattr(shared_store, "_LEAST_RATE", 1_000)
        release = asyncio.Event()
        loop = asyncio.get_running_loop()

        def put(*_: object) -> None:
            asyncio.run_coroutine_threadsafe(release.wait(), loop).result()

        monkeypatch.setattr(ObjectStore, "put", put)
        assert not await pool.store.put(digest, 4)
        assert "4 bytes were not written within" in pool.store.home.trouble
        release.set()

    asyncio.run(slow())


def test_a_value_comes_from_a_host_that_is_free_else_from_home() -> None:
    """Each that has it gives it to one other at a time; home gives it while nobody else can, or if that takes long."""

    async def run() -> None:
        where = Whereabouts()
        digest = digest_of([b"x"])
        where.use(digest, "root")
        caches = [f"c{number}" for number in range(8)]
        came: dict[str, str] = {}

        async def bring(cache: str) -> None:
            async with where.source(digest, cache, caches, 60) as source:
                came[cache] = source
                await asyncio.sleep(0)
            where.put(digest, cache)

        await asyncio.gather(*map(bring, caches))
        assert [*came.values()].count(HOME) == 1
        assert len({*came.values()}) > 2  # not all from the first
        where.lose(digest, "c0")
        async with where.source(digest, "c9", [], 60) as nobody, where.source(digest, "c8", [], 0) as late:
            assert (nobody, late) == (HOME, HOME)
        assert where.end(["other"]) == []
        where.use(digest, "second")
        assert where.end(["root"]) == []
        assert where.end(["second"]) == [digest]

    asyncio.run(run())
