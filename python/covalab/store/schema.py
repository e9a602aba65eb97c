"""Tables of the database, as a list of migrations. A released migration is never edited; a new one is appended."""

from __future__ import annotations

from typing import Final

import apsw

from covalab.core.errors import VersionMismatch

MIGRATIONS: Final = (
    """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
    CREATE TABLE dispatches (
        key INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL,
        status TEXT NOT NULL,
        version INTEGER NOT NULL,
        created_at REAL NOT NULL,
        started_at REAL,
        ended_at REAL,
        counts BLOB NOT NULL,
        notebook TEXT NOT NULL,
        cell TEXT NOT NULL,
        root TEXT,
        parent_node INTEGER NOT NULL,
        error TEXT NOT NULL
    );
    CREATE INDEX dispatches_by_status ON dispatches (status, key);
    CREATE INDEX dispatches_by_name ON dispatches (name, key);
    CREATE TABLE submissions (
        key INTEGER PRIMARY KEY REFERENCES dispatches (key),
        graph BLOB NOT NULL,
        rest BLOB NOT NULL
    );
    CREATE TABLE nodes (
        key INTEGER NOT NULL REFERENCES dispatches (key),
        node INTEGER NOT NULL,
        status TEXT NOT NULL,
        started_at REAL,
        ended_at REAL,
        attempt INTEGER NOT NULL,
        PRIMARY KEY (key, node)
    ) WITHOUT ROWID;
    CREATE TABLE outcomes (
        key INTEGER NOT NULL REFERENCES dispatches (key),
        node INTEGER NOT NULL,
        worker TEXT NOT NULL,
        value BLOB,
        failure BLOB,
        stdout TEXT NOT NULL,
        stderr TEXT NOT NULL,
        PRIMARY KEY (key, node)
    );
    CREATE TABLE blob_uses (
        digest TEXT NOT NULL,
        key INTEGER NOT NULL REFERENCES dispatches (key),
        PRIMARY KEY (digest, key)
    ) WITHOUT ROWID;
    """,
    # Deleting a dispatch asks which blobs it used; without this, every use of every blob would be looked at.
    "CREATE INDEX blob_uses_by_key ON blob_uses (key)",
    # What was learned of how long functions take, so that the first batch of tomorrow is sized like the last of today.
    "CREATE TABLE durations (function TEXT PRIMARY KEY, seconds REAL NOT NULL) WITHOUT ROWID",
    # A dispatch that is recorded and not started (`disable_run`) must not be started by a restart.
    "ALTER TABLE dispatches ADD COLUMN held INTEGER NOT NULL DEFAULT 0",
    # The runs of a node that were not its last: what retries are counted by, and since when one waits for the next.
    """
    CREATE TABLE attempts (
        key INTEGER NOT NULL REFERENCES dispatches (key),
        node INTEGER NOT NULL,
        attempt INTEGER NOT NULL,
        next_at REAL,
        outcome BLOB NOT NULL,
        PRIMARY KEY (key, node, attempt)
    );
    """,
    # A dispatch may stand for a node of another (a sublattice); lists show the outermost ones.
    """
    ALTER TABLE dispatches ADD COLUMN parent TEXT;
    CREATE INDEX dispatches_by_root ON dispatches (root, key);
    CREATE INDEX dispatches_by_parent ON dispatches (parent) WHERE parent IS NOT NULL;
    """,
    """
    CREATE TABLE triggers (
        id TEXT PRIMARY KEY,
        key INTEGER NOT NULL REFERENCES dispatches (key),
        trigger BLOB NOT NULL,
        state TEXT NOT NULL,
        error TEXT NOT NULL
    );
    CREATE INDEX triggers_by_key ON triggers (key);
    CREATE TABLE firings (
        request TEXT PRIMARY KEY,
        trigger TEXT NOT NULL REFERENCES triggers (id),
        dispatch TEXT NOT NULL
    );
    CREATE INDEX firings_by_trigger ON firings (trigger);
    """,
    # Tasks are listed and counted by how they ended. The indexes hold only what is rare: a task that completes at its
    # first run is in none of them.
    """
    ALTER TABLE nodes ADD COLUMN error_type TEXT;
    CREATE INDEX nodes_not_completed ON nodes (key, node, status, error_type) WHERE status <> 'completed';
    CREATE INDEX nodes_by_error ON nodes (error_type) WHERE error_type IS NOT NULL;
    CREATE INDEX nodes_run_again ON nodes (key, node) WHERE attempt > 1;
    CREATE INDEX dispatches_held ON dispatches (key) WHERE held <> 0;
    """,
    # What happens in a dispatch beside its graph (`core.journal`). Values are inside the entries, closed.
    """
    CREATE TABLE journal (
        key INTEGER NOT NULL REFERENCES dispatches (key),
        version INTEGER NOT NULL,
        streamed INTEGER NOT NULL,
        entry BLOB NOT NULL,
        PRIMARY KEY (key, version)
    );
    CREATE INDEX journal_stream ON journal (key, version) WHERE streamed = 1;
    """,
    # A dispatch may wait for its time, and be a run of a series; what ended long ago is found without looking at all.
    """
    ALTER TABLE dispatches ADD COLUMN starts_at REAL;
    ALTER TABLE dispatches ADD COLUMN schedule_id TEXT;
    ALTER TABLE dispatches ADD COLUMN interval REAL;
    CREATE INDEX dispatches_by_schedule ON dispatches (schedule_id, key) WHERE schedule_id IS NOT NULL;
    CREATE INDEX dispatches_by_end ON dispatches (ended_at) WHERE root IS NULL AND ended_at IS NOT NULL;
    """,
    # A submission is stored whole, as it was sent. Rows from before keep it in `graph` and `rest`, and are not
    # rewritten: a large folder must open at once. How often a dispatch was taken up after a restart used to follow from
    # its version alone, which a restart raises by a million, and half a million runs of nodes as well, by two for each.
    """
    ALTER TABLE submissions ADD COLUMN submission BLOB;
    ALTER TABLE dispatches ADD COLUMN recovered INTEGER NOT NULL DEFAULT 0;
    UPDATE dispatches SET recovered = max(0, version + 500000 - 2 * (
        SELECT coalesce(sum(attempt), 0) FROM nodes WHERE nodes.key = dispatches.key
    )) / 1000000 WHERE version >= 1000000;
    """,
    # What a node displayed, as a notebook has it; null: no more than what it printed.
    "ALTER TABLE outcomes ADD COLUMN outputs BLOB",
    # Whether an earlier run stood for a run, and why; null: the node takes no part in reuse.
    "ALTER TABLE outcomes ADD COLUMN reuse BLOB",
    # Rows of the list: what a dispatch runs again, its inputs in short, and the node whose value is its result.
    """
    ALTER TABLE dispatches ADD COLUMN origin TEXT;
    ALTER TABLE dispatches ADD COLUMN inputs TEXT NOT NULL DEFAULT '';
    ALTER TABLE dispatches ADD COLUMN value_node INTEGER NOT NULL DEFAULT -1;
    CREATE INDEX dispatches_by_origin ON dispatches (origin) WHERE origin IS NOT NULL;
    """,
    # Seals of what is unpickled (`seals`). Rows from before have none: up to which dispatch there may be such is kept.
    """
    ALTER TABLE submissions ADD COLUMN seal BLOB;
    ALTER TABLE outcomes ADD COLUMN seal BLOB;
    ALTER TABLE attempts ADD COLUMN seal BLOB;
    ALTER TABLE journal ADD COLUMN seal BLOB;
    ALTER TABLE triggers ADD COLUMN seal BLOB;
    INSERT OR REPLACE INTO meta SELECT 'unsealed', max(key) FROM dispatches HAVING max(key) IS NOT NULL;
    """,
    # When a node printed what it printed; null: at its start, or not known. Tags of a dispatch, as JSON.
    """
    ALTER TABLE outcomes ADD COLUMN times BLOB;
    ALTER TABLE dispatches ADD COLUMN tags TEXT NOT NULL DEFAULT '[]';
    """,
)


def check_version(connection: apsw.Connection, path: str) -> int:
    """Return the schema of a database.

    Raises
    ------
    VersionMismatch
        If the database was written by a newer version, which this one would damage.
    """
    version = connection.pragma("user_version")
    assert isinstance(version, int)
    if version > len(MIGRATIONS):
        here, there = f"with schema {len(MIGRATIONS)}", f"with schema {version}"
        raise VersionMismatch(here, there, f"what wrote {path}", "upgrade covalab here, or set COVALAB_DATA_DIR")
    return version


def migrate(connection: apsw.Connection) -> None:
    """Bring a database to the current schema, each migration and its number in one transaction."""
    while check_version(connection, connection.filename) < len(MIGRATIONS):
        # The write lock at once: another process may be about to make the same migration.
        connection.execute("BEGIN IMMEDIATE")
        try:
            version = check_version(connection, connection.filename)
            if version < len(MIGRATIONS):
                connection.execute(MIGRATIONS[version])
                connection.execute(f"PRAGMA user_version = {version + 1}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
