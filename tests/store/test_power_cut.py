"""A power cut at any moment: what was acknowledged is in the database, and that is whole."""

from __future__ import annotations

import asyncio
import pickle
import random
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import apsw
import pytest
from tests.conftest import SEED

from covalab.store import Store
from covalab.store.repair import kept_copies

SECTOR = 512
PROGRAM = """
import asyncio, os, pickle, sys
sys.path[:0] = {path!r}
import apsw
from pathlib import Path

out = os.fdopen(os.dup(1), "wb")
def note(*event):
    pickle.dump(event, out)

class File(apsw.VFSFile):
    def __init__(self, name, flags):
        self.name = os.path.basename(name.filename() if isinstance(name, apsw.URIFilename) else name or "temporary")
        super().__init__(DISK, name, flags)
    def xWrite(self, data, offset):
        note("write", self.name, offset, bytes(data))
        super().xWrite(data, offset)
    def xTruncate(self, size):
        note("truncate", self.name, size)
        super().xTruncate(size)
    def xSync(self, flags):
        super().xSync(flags)
        note("sync", self.name)

class Disk(apsw.VFS):
    def __init__(self):
        super().__init__("noted", DISK, makedefault=True)
    def xOpen(self, name, flags):
        return File(name, flags)
    def xDelete(self, name, sync):
        super().xDelete(name, sync)
        note("delete", os.path.basename(name))

DISK = apsw.vfs_names()[0]
disk = Disk()
from covalab.store import Store
from tests.store.test_damage import record

async def main():
    store = Store(Path({database!r}))
    await store.write(lambda db: db.execute("PRAGMA wal_autocheckpoint") and None)
    store._writer.wal_autocheckpoint(40)
    for number in range(0, 30, 3):
        await asyncio.gather(*(store.write(record(one), [str(one)]) for one in range(number, number + 3)))
        note("acknowledged", number + 3, Path({database!r} + "-commits").read_bytes())
    store.close()
    note("acknowledged", 30, Path({database!r} + "-commits").read_bytes())

asyncio.run(main())
out.flush()
"""


class Disk:
    """Files as they are on a disk: what was synced, and what was written since."""

    def __init__(self) -> None:
        self.synced: dict[str, bytearray] = defaultdict(bytearray)
        self.since: dict[str, list[tuple[Any, ...]]] = defaultdict(list)

    def take(self, event: tuple[Any, ...]) -> None:
        """Let something happen to a file."""
        kind, name, *rest = event
        if kind == "sync":
            for one in self.since.pop(name, []):
                _apply(self.synced[name], one)
        elif kind == "delete":
            self.synced.pop(name, None)
            self.since.pop(name, None)
        else:
            self.since[name].append((kind, *rest))

    def after_a_cut(self, chance: random.Random, share: float) -> dict[str, bytes]:
        """Return the files after a power cut: of what was not synced, a share has survived, torn at sectors."""
        found: dict[str, bytes] = {}
        for name in {*self.synced, *self.since}:
            content = bytearray(self.synced.get(name, b""))
            for kind, *rest in self.since.get(name, []):
                if kind == "truncate":
                    if chance.random() < share:
                        _apply(content, (kind, *rest))
                    continue
                offset, data = rest
                for at in range(0, len(data), SECTOR):
                    if chance.random() < share:
                        _apply(content, ("write", offset + at, data[at : at + SECTOR]))
            found[name] = bytes(content)
        return found


def _apply(content: bytearray, change: tuple[Any, ...]) -> None:
    if change[0] == "truncate":
        del content[change[1] :]
        return
    _, offset, data = change
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


@pytest.mark.parametrize(
    "n",
    [
        pytest.param(60, id="some"),
        pytest.param(2_000, id="all", marks=[pytest.mark.nightly, pytest.mark.timeout(3600)]),
    ],
)
def test_what_was_acknowledged_survives_a_power_cut(tmp_path: Path, n: int) -> None:
    """At moments of a run of thirty jobs, some within a checkpoint, with more or less of what was not synced."""
    program = PROGRAM.format(path=sys.path, database=str(tmp_path / "covalab.db"))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr.decode()
    events: list[tuple[Any, ...]] = []
    stream = iter_pickles(done.stdout)
    events.extend(stream)
    chance = random.Random(f"cut {SEED}")
    moments = {*chance.sample(range(len(events)), min(n, len(events))), len(events) - 1}
    disk = Disk()
    acknowledged, log = 0, b""
    n_checked = 0
    for moment, event in enumerate(events):
        if event[0] == "acknowledged":
            acknowledged, log = event[1], event[2]
        else:
            disk.take(event)
        if moment not in moments:
            continue
        folder = tmp_path / str(moment)
        folder.mkdir()
        for name, content in disk.after_a_cut(chance, chance.choice([0.0, 0.5, 0.9, 1.0])).items():
            if name.startswith("covalab.db") and not name.endswith("-shm"):
                (folder / name).write_bytes(content)
        (folder / "covalab.db-commits").write_bytes(log)
        what = f"after event {moment} of {len(events)}, seed {SEED}"
        store = Store(folder / "covalab.db")
        try:
            there = asyncio.run(store.read(names_in))
            trouble = asyncio.run(store.read(lambda db: db.pragma("integrity_check")))
        finally:
            store.close()
        assert trouble == "ok", what
        assert kept_copies(folder / "covalab.db") == [], what
        assert there >= {f"00000000-0000-0000-0000-{number:012}" for number in range(acknowledged)}, what
        n_checked += 1

    assert n_checked >= min(n, len(events))
    assert sum(event[0] == "sync" for event in events) > 20


def names_in(database: apsw.Connection) -> set[str]:
    """Return the ids of the dispatches in a database."""
    return {str(dispatch) for (dispatch,) in database.execute("SELECT id FROM dispatches")}


def iter_pickles(data: bytes) -> list[tuple[Any, ...]]:
    """Return what was written one after the other."""
    import io

    stream = io.BytesIO(data)
    found: list[tuple[Any, ...]] = []
    while stream.tell() < len(data):
        found.append(pickle.load(stream))
    return found
