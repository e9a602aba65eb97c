"""Cache folder of a host: values in pieces, room for new ones, one for all workers of a user, gone at the end."""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec
import pytest

from covalab.blobs import BlobStore
from covalab.carrier import carriers
from covalab.core.carriage import CacheSettings, Part
from covalab.core.codec import Encoded, digest_of
from covalab.core.errors import BlobNotFound, DataFolderError
from covalab.core.model import Digest
from covalab.worker.host_cache import HostCache, localized, make_room, remove_unused


def put(cache: HostCache, content: bytes, owner: str = "me") -> Digest:
    """Give a value to a cache in two pieces."""
    digest = digest_of([content])
    half = len(content) // 2
    cache.write(owner, Part(digest, len(content), 0, half), content[:half])
    cache.write(owner, Part(digest, len(content), half, len(content) - half), content[half:])
    return digest


@pytest.mark.parametrize("size", [2, 1_000, 300_001])
def test_what_comes_in_pieces_is_read_in_pieces(tmp_path: Path, size: int) -> None:
    """Whole, and by any part; nobody else may enter the folder."""
    cache = HostCache(tmp_path, CacheSettings())
    content = os.urandom(size)
    digest = put(cache, content)

    assert bytes(cache.blobs.read(digest)) == content
    assert cache.read([Part(digest, size, 1, size - 1), Part(digest, size, 0, 1)]) == content[1:] + content[:1]
    assert cache.folder.stat().st_mode & 0o777 == 0o700
    with pytest.raises(FileNotFoundError):
        cache.read([Part(digest_of([b"other"]), 5, 0, 5)])
    with pytest.raises(BlobNotFound):
        cache.read([Part(Digest("../../lock"), 5, 0, 5)])


def test_two_pools_may_bring_the_same_at_once(tmp_path: Path) -> None:
    """Each writes a file of its own; the value is whole after either."""
    cache = HostCache(tmp_path, CacheSettings())
    content = os.urandom(1_000)
    digest = digest_of([content])
    cache.write("one", Part(digest, 1_000, 0, 500), content[:500])
    put(cache, content, "two")
    assert bytes(cache.blobs.read(digest)) == content
    cache.write("one", Part(digest, 1_000, 500, 500), content[500:])
    assert bytes(cache.blobs.read(digest)) == content
    with pytest.raises(DataFolderError, match="cannot write"):
        cache.write("three", Part(digest, 1_000, 500, 500), content[500:])
    cache.write("four", Part(digest, 1_000, 0, 400), content[:400])
    with pytest.raises(DataFolderError, match="pieces"):
        cache.write("four", Part(digest, 1_000, 600, 400), content[500:900])


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    """What was offered and is not at home yet stays readable; the folder is shared by the workers of a host."""
    cache = HostCache(tmp_path, CacheSettings())
    other = HostCache(tmp_path, CacheSettings())
    assert (other.folder, other.id) == (cache.folder, cache.id)
    digests = [put(cache, bytes([number]) * 1_000) for number in range(20)]
    for age, digest in enumerate(digests):
        at = time.time() - 1_000 + age
        os.utime(cache.blobs.path(digest), (at, at))
    os.utime(cache.blobs.path(digests[0]), (time.time(), time.time() - 1_000))  # read just now
    os.link(cache.blobs.path(digests[1]), cache.folder / "offered" / digests[1])
    make_room(cache.folder / "blobs", 10_000)

    left = set(cache.blobs.digests())
    assert left == {digests[0], *digests[12:]}
    assert other.read([Part(digests[1], 1_000, 0, 1_000)]) == bytes([1]) * 1_000
    other.kept([digests[1]])
    with pytest.raises(FileNotFoundError):
        other.read([Part(digests[1], 1_000, 0, 1_000)])


def test_it_makes_room_by_itself(tmp_path: Path) -> None:
    """As values come in."""
    cache = HostCache(tmp_path, CacheSettings(size=100_000))
    for number in range(60):
        put(cache, bytes([number]) * 10_000)
    deadline = time.monotonic() + 60
    while len(list(cache.blobs.digests())) > 12 and time.monotonic() < deadline:
        put(cache, os.urandom(10_000))
        time.sleep(0.01)
    assert len(list(cache.blobs.digests())) <= 12


def test_it_goes_with_its_last_worker(tmp_path: Path) -> None:
    """Not before; a lock that is held counts, and one of a process that is gone does not."""
    first, second = (HostCache(tmp_path, CacheSettings()) for _ in range(2))
    put(first, b"value")
    os.close(first._lock)
    remove_unused(second.folder)
    assert second.folder.exists()
    os.close(second._lock)
    remove_unused(second.folder)
    assert list(tmp_path.iterdir()) == []
    third = HostCache(tmp_path, CacheSettings())
    assert third.id != first.id
    remove_unused(tmp_path / "nothing")


def test_another_users_folder_is_refused(tmp_path: Path) -> None:
    """Also one that a link leads to."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / f"covalab-cache-{os.getuid()}").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionError):
        HostCache(tmp_path, CacheSettings())
    assert HostCache(tmp_path, CacheSettings(str(tmp_path / "named" / "below"))).folder.parent.name == "below"


def test_a_batch_gets_the_folders_of_the_cache(tmp_path: Path) -> None:
    """All else in it stays as it is."""
    batch = {"id": 1, "blobs": "/data/blobs", "spool": "/data/spool", "packages": "/p", "shared": [[1, b"x"]]}
    found = msgspec.msgpack.decode(localized(msgspec.msgpack.encode(batch), tmp_path))
    folders = {name: str(tmp_path / name) for name in ("blobs", "spool", "packages")}
    assert found == {**batch, **folders, "is_carried": True}


class FromHome:
    """Carrier that has a blob store at home."""

    def __init__(self, home: BlobStore, cache: BlobStore) -> None:
        self.home, self.cache = home, cache
        self.fetched: list[Digest] = []
        self.offered: list[Digest] = []

    def fetch(self, digest: Digest) -> None:
        """Copy a blob."""
        self.fetched.append(digest)
        data = self.home.read(digest)
        path = self.cache.path(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def offer(self, digest: Digest, size: int) -> None:
        """Note what is offered."""
        self.offered.append(digest)

    def keep(self, digest: Digest, size: int) -> bool:
        """Ask at home."""
        return self.home.keep_blob(digest, size)

    def touch(self, digest: Digest) -> None:
        """Do nothing."""

    def runs(self, key: str) -> list[bytes]:
        """Return nothing."""
        return []

    def add_run(self, key: str, dispatch: str, data: bytes) -> None:
        """Do nothing."""


def test_a_cache_fetches_what_is_missing_or_damaged_and_offers_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was damaged in the cache is not lost; what is written again is offered again, and home is asked for all."""
    home, cache = BlobStore(tmp_path / "home"), BlobStore(tmp_path / "cache" / "blobs")
    carrier = FromHome(home, cache)
    monkeypatch.setitem(carriers, str(cache.folder), carrier)
    value = home.serialize(os.urandom(100_000))
    assert value.digest is not None
    expected = home.deserialize(value)
    assert cache.deserialize(value) == expected
    content = bytearray(cache.path(value.digest).read_bytes())
    content[5_000] ^= 1
    cache.path(value.digest).write_bytes(content)
    assert cache.deserialize(value) == expected
    assert carrier.fetched == [value.digest] * 2

    assert cache.keep(value)
    home.path(value.digest).unlink()
    assert not cache.keep(value)
    for _ in range(2):
        assert cache.put(Encoded([b"new" * 50_000], 150_000)) in carrier.offered
    assert len(carrier.offered) == 2
    cache.path(value.digest).unlink()
    with pytest.raises(BlobNotFound):
        cache.deserialize(value)
