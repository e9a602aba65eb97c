"""Run a workflow when a table has rows."""

from __future__ import annotations

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import covalab as ct
from covalab.triggers import SQLiteTrigger

# Long against a dispatch: looked at again before the new jobs are done, they would start another run.
database = Path(tempfile.mkdtemp()) / "jobs.db"
trigger = SQLiteTrigger(str(database), "jobs", poll_interval=2, where_clauses=["state = 'new'"])


@ct.electron
def work(path: str) -> int:
    """Mark the new jobs as done; return their number."""
    with closing(sqlite3.connect(path)) as db, db:
        return db.execute("UPDATE jobs SET state = 'done' WHERE state = 'new'").rowcount


@ct.lattice(triggers=trigger)
def workflow(path: str) -> int:
    """Run one task."""
    return work(path)


def main() -> None:
    """Check that only rows that meet the condition count."""
    with closing(sqlite3.connect(database)) as db, db:
        db.execute("CREATE TABLE jobs (state)")
        db.execute("INSERT INTO jobs VALUES ('old')")
    run = ct.dispatch(workflow)(str(database))
    assert ct.get_result(run).status == ct.status.NEW_OBJECT
    with closing(sqlite3.connect(database)) as db, db:
        db.execute("INSERT INTO jobs VALUES ('new'), ('new')")
    result = ct.get_result(run, wait=True, timeout=120)
    ct.stop_triggers([run])

    assert result.status == ct.status.COMPLETED
    assert result.result == 2
