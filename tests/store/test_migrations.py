"""Migrations that are cut, or made by two processes at once: the schema is the current one, nothing is lost."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import tarfile
from contextlib import closing
from pathlib import Path

import pytest
from tests.conftest import SEED

from covalab.store import Store, pages
from covalab.store.schema import MIGRATIONS

ARCHIVE = Path(__file__).parents[1] / "old_data" / "schema-10_commit-8c5dfc5.tar.xz"
OPENING = """
import os, signal, sys, time
from pathlib import Path
import apsw
from covalab.store import Store
left = [int(sys.argv[2])]

def pass_statement(cursor, sql, bindings):
    left[0] -= 1
    if len(sys.argv) > 3:
        time.sleep(0.003)  # so that the other one gets in between
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return True

apsw.connection_hooks.append(lambda connection: setattr(connection, "exec_trace", pass_statement))
if len(sys.argv) > 3:
    sys.stdout.write("ready\\n")
    sys.stdout.flush()
    sys.stdin.readline()
store = Store(Path(sys.argv[1]))
store.close()
print(-left[0])
"""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Return a database of schema 10, with dispatches of all kinds."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extract("covalab.db", tmp_path, filter="data")
    return tmp_path / "covalab.db"


def opened(path: Path, n_statements: int = -1) -> subprocess.CompletedProcess[str]:
    """Open a database in a process, which is killed at a statement."""
    command = [sys.executable, "-c", OPENING, str(path), str(n_statements)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def content(path: Path) -> list[str]:
    """Return schema and rows, but for those that count how often it was opened."""
    with closing(pages.connect(path, read_only=True)) as db:
        found = [str(row) for row in db.execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name")]
        for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").fetchall():
            rows = db.execute(f"SELECT * FROM {name}").fetchall()
            found += [f"{name} {row}" for row in rows if (name, row[0]) not in (("meta", "epoch"), ("meta", "commit"))]
        return [*found, str(db.pragma("user_version")), str(db.pragma("integrity_check"))]


@pytest.mark.parametrize("n", [2, pytest.param(1_000, marks=[pytest.mark.nightly, pytest.mark.timeout(900)])])
def test_a_migration_that_is_killed_goes_on_at_the_next_start(n: int, old: Path, tmp_path: Path) -> None:
    """At a statement of the first start; the next makes of the database what one start alone would have made."""
    whole = tmp_path / "whole.db"
    whole.write_bytes(old.read_bytes())
    n_statements = int(opened(whole).stdout) - 1
    assert n_statements > len(MIGRATIONS) - 10
    expected = content(whole)
    for moment in sorted(random.Random(f"migration {SEED}").sample(range(1, n_statements), min(n, n_statements - 1))):
        copy = tmp_path / f"{moment}.db"
        copy.write_bytes(old.read_bytes())
        assert opened(copy, moment).returncode == -signal.SIGKILL
        Store(copy).close()

        assert content(copy) == expected, f"killed at statement {moment}, seed {SEED}"


def test_two_processes_that_migrate_at_once_make_one_schema(old: Path, tmp_path: Path) -> None:
    """As where the lock of the folder does not reach: each migration is made once, and neither fails."""
    whole = tmp_path / "whole.db"
    whole.write_bytes(old.read_bytes())
    Store(whole).close()
    expected = content(whole)
    command = [sys.executable, "-c", OPENING, str(old), "-1", "wait"]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=120)[1] for process in processes]

    assert [process.returncode for process in processes] == [0, 0], said
    assert content(old) == expected
