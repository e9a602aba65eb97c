"""A power cut while large values are written: one whose digest was returned is whole, under its name, afterwards."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import SEED

from covalab import blobs
from covalab.blobs import BlobStore
from covalab.core.codec import has_digest
from covalab.core.model import Digest

SECTOR = 512
N_VALUES = 12


class Disk:
    """Files and folders as a power cut would leave them: what was synced, and some of what was not."""

    def __init__(self) -> None:
        self._content: dict[int, bytearray] = {}  # by inode, as processes see it
        self._synced: dict[int, bytes] = {}
        self._names: dict[str, int | None] = {}  # durable entries of folders
        self._pending: list[tuple[str, str, int | None]] = []  # folder, path, inode: entries that are not yet durable

    def take(self, event: tuple[Any, ...]) -> None:
        """Let something happen."""
        kind, *rest = event
        if kind == "create":  # a number that a removed file may have had
            self._content[rest[0]] = bytearray()
            self._synced[rest[0]] = b""
        elif kind == "write":
            inode, data = rest
            self._content[inode].extend(data)
        elif kind == "entry":
            path, its_inode = rest
            self._pending.append((os.path.dirname(path), path, its_inode))  # noqa: PTH120
        elif kind == "sync":
            inode, content = rest
            self._synced[inode] = content
            self._content[inode] = bytearray(content)
        elif kind == "sync folder":
            for folder, path, its_inode in self._pending:
                if folder == rest[0]:
                    self._names[path] = its_inode
            self._pending = [one for one in self._pending if one[0] != rest[0]]

    def after_a_cut(self, chance: random.Random, share: float) -> dict[str, bytes]:
        """Return the files by path; of what was not synced, a share has survived, torn at sectors."""
        names = self._names | {path: inode for _, path, inode in self._pending if chance.random() < share}
        found = {}
        for path, inode in names.items():
            # Without its folder it has no name; the blob folder itself is older than the test.
            if inode is None or names.get(os.path.dirname(path)) is None:  # noqa: PTH120
                continue
            content = bytearray(self._synced.get(inode, b""))
            now = self._content.get(inode, bytearray())
            for at in range(len(content), len(now), SECTOR):
                if chance.random() < share:
                    content.extend(bytes(at - len(content)))
                    content[at : at + SECTOR] = now[at : at + SECTOR]
            found[path] = bytes(content)
        return found


class Noted:
    """What `covalab.blobs` asks of the system, noted after it was done."""

    def __init__(self, events: list[tuple[Any, ...]]) -> None:
        self._events = events

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: Any, flags: int, mode: int = 0o777) -> int:
        """Open; a new file is an entry of its folder."""
        fd = os.open(path, flags, mode)
        if flags & os.O_CREAT:
            inode = os.fstat(fd).st_ino
            self._events.extend([("create", inode), ("entry", str(path), inode)])
        return fd

    def write(self, fd: int, data: Any) -> int:
        """Write."""
        n = os.write(fd, data)
        self._events.append(("write", os.fstat(fd).st_ino, bytes(data[:n])))
        return n

    def fsync(self, fd: int) -> None:
        """Sync a file or a folder."""
        os.fsync(fd)
        path = os.readlink(f"/proc/self/fd/{fd}")  # noqa: PTH115
        is_folder = os.path.isdir(path)  # noqa: PTH112
        content = b"" if is_folder else Path(path).read_bytes()
        self._events.append(("sync folder", path) if is_folder else ("sync", os.fstat(fd).st_ino, content))


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Note what is done to files from here on."""
    found: list[tuple[Any, ...]] = []
    rename, mkdir = Path.rename, Path.mkdir

    def noted_rename(path: Path, target: Path) -> Path:
        inode = path.stat().st_ino
        done = rename(path, target)
        found.extend([("entry", str(target), inode), ("entry", str(path), None)])
        return done

    def noted_mkdir(path: Path, *args: Any, **options: Any) -> None:
        was_there = path.is_dir()
        mkdir(path, *args, **options)
        if not was_there:
            found.append(("entry", str(path), path.stat().st_ino))

    monkeypatch.setattr(blobs, "os", Noted(found))
    monkeypatch.setattr(Path, "rename", noted_rename)
    monkeypatch.setattr(Path, "mkdir", noted_mkdir)
    return found


def test_a_value_whose_digest_was_returned_survives_a_power_cut(tmp_path: Path, events: list[tuple[Any, ...]]) -> None:
    """At each moment of twelve values, put and received, with more or less of what was not synced."""
    chance = random.Random(f"blobs {SEED}")
    folder = tmp_path / "blobs"
    folder.mkdir()
    store = BlobStore(folder)
    for number in range(N_VALUES):
        value = store.serialize(chance.randbytes(chance.choice([70_000, 300_000])))
        assert value.digest is not None
        if number % 3 == 2:  # as one that comes from another host
            data = bytes(store.read(value.digest))
            store.path(value.digest).unlink()
            events.append(("entry", str(store.path(value.digest)), None))
            store.receive(value.digest, len(data), [data[:50_000], data[50_000:]])
        events.append(("returned", value.digest))
    disk, returned = Disk(), list[Digest]()
    for moment, event in enumerate(events):
        disk.take(event)
        if event[0] == "returned":
            returned.append(event[1])
        for share in (0.0, chance.choice([0.5, 0.9, 1.0])):
            after = disk.after_a_cut(chance, share)
            what = f"after event {moment} of {len(events)}, seed {SEED}"
            for digest in returned[-3:]:  # what was synced once stays
                assert has_digest(memoryview(after.get(str(store.path(digest)), b"")), digest), what
    assert {*after} >= {str(store.path(digest)) for digest in returned}
    assert len(returned) == N_VALUES
