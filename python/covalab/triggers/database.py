"""`DatabaseTrigger`: when a table has rows that meet a condition."""

from __future__ import annotations

import importlib.util
import math
import threading
from collections.abc import Callable, Sequence

from covalab.triggers.base import BaseTrigger


class PollingTrigger(BaseTrigger):
    """Trigger that polls a database: base of `DatabaseTrigger` and `SQLiteTrigger`.

    Parameters
    ----------
    db_path
        The database.
    table_name
        The table.
    poll_interval
        Seconds between two queries.
    where_clauses
        Conditions in SQL, e.g. ``["id > 2", "status = 'pending'"]``; all must be met.
    trigger_after_n
        Fire after every so many queries that found rows.
    lattice_dispatch_id, dispatcher_addr, triggers_server_addr
        See `BaseTrigger`.

    Raises
    ------
    ValueError
        If the interval or the count is none.
    """

    def __init__(
        self,
        db_path: str,
        table_name: str,
        poll_interval: float = 1,
        where_clauses: Sequence[str] | None = None,
        trigger_after_n: int = 1,
        lattice_dispatch_id: str | None = None,
        dispatcher_addr: str | None = None,
        triggers_server_addr: str | None = None,
    ) -> None:
        super().__init__(lattice_dispatch_id, dispatcher_addr, triggers_server_addr)
        if not isinstance(poll_interval, int | float) or not 0 < poll_interval < math.inf:
            message = f"poll_interval is a number of seconds above 0, not {poll_interval!r}"
            raise ValueError(message)
        if not isinstance(trigger_after_n, int) or trigger_after_n < 1:
            message = f"trigger_after_n is a whole number from 1 on, not {trigger_after_n!r}"
            raise ValueError(message)
        self.db_path = self._checked_path(db_path)
        self.table_name = table_name
        self.poll_interval = poll_interval
        self.where_clauses = where_clauses
        self.trigger_after_n = trigger_after_n

    def _checked_path(self, db_path: str) -> str:
        return db_path

    @property
    def query(self) -> str:
        """The SQL query. Table and conditions are the user's own SQL, for the user's own database."""
        where = f" WHERE {' AND '.join(self.where_clauses)}" if self.where_clauses else ""
        return f"SELECT * FROM {self.table_name}{where} LIMIT 1"  # noqa: S608 - the user's own SQL

    def poll(self, has_rows: Callable[[str], bool], error_type: type[Exception]) -> None:
        """Query and fire until stopped. A missing table or file is reported, and polled on: it may come."""
        self.stop_flag = threading.Event()
        found = 0
        reported = ""
        while not self.stop_flag.is_set():
            error_text = ""
            try:
                found += has_rows(self.query)
            except error_type as error:
                error_text = f"{type(error).__name__}: {error}"
            # Only changes: a database that is away for a day is one report, not one per poll.
            if error_text != reported and self._watcher is not None:
                self._watcher.report_trouble(error_text)
                reported = error_text
            if found >= self.trigger_after_n:
                found = 0
                self.trigger()
            self.stop_flag.wait(self.poll_interval)

    def stop(self) -> None:
        """Stop watching."""
        if self.stop_flag is not None:
            self.stop_flag.set()


class DatabaseTrigger(PollingTrigger):
    """Runs a workflow when a table of any database that SQLAlchemy knows has rows that meet conditions.

    Parameters
    ----------
    db_path
        The database, as SQLAlchemy writes it: ``"postgresql://host/name"``, ``"sqlite:////data/jobs.db"``.
    table_name, poll_interval, where_clauses, trigger_after_n
        See `PollingTrigger`.
    lattice_dispatch_id, dispatcher_addr, triggers_server_addr
        See `BaseTrigger`.

    Raises
    ------
    ModuleNotFoundError
        If SQLAlchemy is not installed.
    """

    def _checked_path(self, db_path: str) -> str:
        if importlib.util.find_spec("sqlalchemy") is None:
            message = (
                "DatabaseTrigger needs SQLAlchemy, which is not installed here: pip install 'covalab[database]'; "
                "for a SQLite file, SQLiteTrigger needs nothing"
            )
            raise ModuleNotFoundError(message, name="sqlalchemy")
        return db_path

    def observe(self) -> None:
        """Query and fire until stopped."""
        import sqlalchemy as sa  # noqa: PLC0415 - an optional package

        engine = sa.create_engine(self.db_path)

        def has_rows(query: str) -> bool:
            with engine.connect() as connection:
                return connection.execute(sa.text(query)).first() is not None

        try:
            self.poll(has_rows, sa.exc.SQLAlchemyError)
        finally:
            engine.dispose()
