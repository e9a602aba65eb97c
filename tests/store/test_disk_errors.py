"""Errors of the disk at each reading, writing and syncing: told as such, nothing acknowledged lost, none damaged."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import SEED

PROGRAM = """
import asyncio, json, os, shutil, sys
sys.path[:0] = {path!r}
import apsw
from contextlib import suppress
from pathlib import Path

KINDS = dict(read=apsw.SQLITE_IOERR_READ, write=apsw.SQLITE_IOERR_WRITE, sync=apsw.SQLITE_IOERR_FSYNC,
             truncate=apsw.SQLITE_IOERR_TRUNCATE)
n_passed, fails_at, n_fail = 0, -1, 0

def step(kind):
    global n_passed
    n_passed += 1
    if fails_at <= n_passed - 1 < fails_at + n_fail:
        error = apsw.IOError("injected")
        error.extendedresult = KINDS[kind]
        raise error

class File(apsw.VFSFile):
    def __init__(self, name, flags):
        super().__init__(DISK, name, flags)
    def xRead(self, amount, offset):
        step("read")
        return super().xRead(amount, offset)
    def xWrite(self, data, offset):
        step("write")
        super().xWrite(data, offset)
    def xTruncate(self, size):
        step("truncate")
        super().xTruncate(size)
    def xSync(self, flags):
        step("sync")
        super().xSync(flags)

class Disk(apsw.VFS):
    def __init__(self):
        super().__init__("failing", DISK, makedefault=True)
    def xOpen(self, name, flags):
        return File(name, flags)

DISK = apsw.vfs_names()[0]
disk = Disk()
from covalab.core.errors import DataFolderError
from covalab.store import Store
from covalab.store.repair import kept_copies
from tests.store.test_damage import record
from tests.store.test_power_cut import names_in

async def run(path):
    acknowledged, told = set(), []
    for start in range(2):  # the second one finds what the first one left
        try:
            store = Store(path)
        except DataFolderError as error:
            told.append(str(error))
            continue
        with suppress(Exception):
            store._writer.wal_autocheckpoint(20)
        for number in range(6 * start, 6 * start + 6, 2):
            for one, done in zip((number, number + 1), await asyncio.gather(
                *(store.write(record(one), [str(one)]) for one in (number, number + 1)), return_exceptions=True,
            )):
                if done is None:
                    acknowledged.add(one)
                else:
                    told.append(str(done) if isinstance(done, DataFolderError) else f"NOT TOLD {{done!r}}")
            try:
                await store.read(names_in)
            except DataFolderError as error:
                told.append(str(error))
        if start:
            store.close()
        else:  # as a kill leaves it
            for connection in store._connections:
                connection.close()
            store._jobs.put(None)
            store._thread.join()
    return acknowledged, told

def trial(folder, at, n):
    global n_passed, fails_at, n_fail
    n_passed, fails_at, n_fail = 0, at, n
    folder.mkdir()
    path = folder / "covalab.db"
    acknowledged, told = asyncio.run(run(path))
    n_steps, fails_at, n_fail = n_passed, -1, 0
    store = Store(path)
    there = asyncio.run(store.read(names_in))
    trouble = asyncio.run(store.read(lambda db: db.pragma("integrity_check")))
    missing = [one for one in acknowledged if f"00000000-0000-0000-0000-{{one:012}}" not in there]
    asyncio.run(store.write(record(20), ["20"]))
    store.close()
    kept = len(kept_copies(path))
    shutil.rmtree(folder)
    return dict(at=at, n=n, steps=n_steps, told=told, missing=missing, trouble=trouble, kept=kept)

root = Path({folder!r})
for at, n in json.loads(sys.stdin.readline()):
    print(json.dumps(trial(root / f"{{at}} {{n}}", at, n)), flush=True)
"""


def trials(tmp_path: Path, points: list[tuple[int, int]]) -> list[dict[str, Any]]:
    """Run two starts and twelve jobs, of which so many steps fail from a step on; return what came of each."""
    program = PROGRAM.format(path=sys.path, folder=str(tmp_path))
    asked = json.dumps(points)
    done = subprocess.run([sys.executable, "-c", program], input=asked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    "n",
    [pytest.param(15, id="some"), pytest.param(0, id="all", marks=[pytest.mark.nightly, pytest.mark.timeout(1800)])],
)
def test_an_error_of_the_disk_at_any_step_is_told_and_loses_nothing(tmp_path: Path, n: int) -> None:
    """Once, or several times in a row; starts and moves of the write-ahead log are among the steps."""
    (whole,) = trials(tmp_path, [(-1, 0)])
    assert whole["told"] == []
    chance = random.Random(f"errors {SEED}")
    steps = [*range(whole["steps"])]
    chosen = chance.sample(steps, n) if n else steps
    found = trials(tmp_path, [(at, chance.choice([1, 1, 3, 40])) for at in chosen])

    assert len(found) == len(chosen)
    for it in found:
        assert it["missing"] == [], it
        assert it["trouble"] == "ok", it
        assert it["kept"] == 0, it
        assert [one for one in it["told"] if "the disk reports an error" not in one] == [], it
    print(f"{len(found)} steps, {sum(bool(it['told']) for it in found)} told")
    assert sum(bool(it["told"]) for it in found) > len(found) / 4, "most are seen by somebody"
