"""`SQLiteTrigger`: when a table of a SQLite file has rows that meet a condition."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from covalab.triggers.database import PollingTrigger


class SQLiteTrigger(PollingTrigger):
    """Runs a workflow when a table of a SQLite file has rows that meet conditions. The file is only read.

    Parameters
    ----------
    db_path
        The file. A relative path is taken from where this object is made.
    table_name, poll_interval, where_clauses, trigger_after_n
        See `PollingTrigger`.
    lattice_dispatch_id, dispatcher_addr, triggers_server_addr
        See `BaseTrigger`.

    Examples
    --------
    >>> SQLiteTrigger("/data/jobs.db", "jobs", where_clauses=["done = 0", "size > 2"]).query
    'SELECT * FROM jobs WHERE done = 0 AND size > 2 LIMIT 1'
    """

    def _checked_path(self, db_path: str) -> str:
        return os.path.abspath(db_path)  # noqa: PTH100 - a text, as in Covalent; Path leaves `..` in it

    def observe(self) -> None:
        """Query and fire until stopped."""

        def has_rows(query: str) -> bool:
            with closing(sqlite3.connect(f"{Path(self.db_path).as_uri()}?mode=ro", uri=True)) as connection:
                return connection.execute(query).fetchone() is not None

        self.poll(has_rows, sqlite3.Error)
