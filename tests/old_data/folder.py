"""What is done with a data folder that no dispatcher has open: moving it, archiving it, listing what its pickles name.

Knows the tables and the layout of schema 10, and nothing of covalab, which may have moved on.
"""

from __future__ import annotations

import pickletools
import sqlite3
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import msgspec


def relocate(database: Path, *, python: str, prefix: str, cwd: str, shell_env: Mapping[str, str]) -> None:
    """Let every dispatch and every trigger of a database expect another interpreter and another folder."""
    place = {"python": python, "prefix": prefix, "cwd": cwd, "path": [], "shell_env": dict(shell_env)}
    with closing(sqlite3.connect(database)) as connection, connection:
        for table, column in (("submissions", "rest"), ("triggers", "trigger")):
            rows = connection.execute(f"SELECT rowid, {column} FROM {table}").fetchall()
            for row, blob in rows:
                record: dict[str, Any] = msgspec.msgpack.decode(blob)
                record["environment"] |= place
                changed = (msgspec.msgpack.encode(record), row)
                connection.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", changed)
        # What waits for its next run waits no longer, whatever the clock of this machine says.
        connection.execute("UPDATE attempts SET next_at = 1 WHERE next_at IS NOT NULL")


def described(result: Any) -> dict[str, Any]:
    """Return what is to be found of a dispatch, now and later."""
    nodes = {}
    for node in result.get_all_node_results():
        if node["node_name"].startswith((":parameter:", ":electron_")):
            continue
        output, below = node["output"], node["sublattice_result"]
        nodes[str(node["node_id"])] = {
            "name": node["node_name"],
            "status": str(node["status"]),
            "output": None if output is None else shown(output.get_deserialized()),
            "error": node["error"],
            "stdout": node["stdout"],
            "attempts": node.get("attempts"),
            "ended": None if node["end_time"] is None else node["end_time"].isoformat(),
            "below": None if below is None else below.dispatch_id,
        }
    found = {
        "id": result.dispatch_id,
        "name": result.lattice.__name__,
        "status": str(result.status),
        "result": shown(result.result),
        "inputs": shown(result.inputs.get_deserialized()),
        "error": result.error,
        "source": result.lattice.workflow_function_string,
        "doc": result.lattice.__doc__,
        "nodes": nodes,
    }
    if not result.is_terminal:
        return found
    return found | {
        "state": shown(result.snapshot),
        "final": shown(result.get_final_result()),
        "stream": list(map(shown, result.execution.get_runtime_stream())),
        "interventions": list(map(shown, result.get_interventions())),
        "interrupts": list(map(shown, result.get_interrupts())),
    }


def shown(value: Any) -> str:
    """Return a short text that two equal values have in common."""
    if type(value) is dict and "ct_dispatch" in value:
        return f"{len(value)} values"
    if type(value) is dict:
        return "{" + ", ".join(f"{key!r}: {shown(item)}" for key, item in value.items()) + "}"
    if type(value) in (list, tuple):
        return f"{type(value).__name__}[{', '.join(map(shown, value))}]"
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}... {len(text)}"


def globals_of(data: bytes) -> Iterator[str]:
    """Yield the names of this package's globals and modules in every pickle that lies anywhere in some bytes."""
    start = data.find(b"\x80\x05")
    while start >= 0:
        yield from _named(data[start:])
        start = data.find(b"\x80\x05", start + 1)


def _named(pickled: bytes) -> Iterator[str]:
    memo: list[Any] = []
    pushed: list[Any] = [None, None]
    with suppress(ValueError, IndexError, UnicodeDecodeError):
        for code, arg, _ in pickletools.genops(pickled):
            if "UNICODE" in code.name:
                pushed.append(arg)
            elif code.name == "MEMOIZE":
                memo.append(pushed[-1])
            elif code.name in ("BINGET", "LONG_BINGET"):
                assert isinstance(arg, int)
                pushed.append(memo[arg])
            elif code.name == "STACK_GLOBAL":
                name = f"{pushed[-2]} {pushed[-1]}"
                if name.startswith("covalab"):
                    yield name
                pushed.append(("global", name))
            elif code.name == "TUPLE1" and pushed[-2] == ("global", "cloudpickle.cloudpickle subimport"):
                if str(pushed[-1]).startswith("covalab"):
                    yield str(pushed[-1])
                pushed.append(None)
            elif code.stack_after:
                pushed.append(None)


def everything_written(folder: Path) -> Iterator[bytes]:
    """Yield every blob of the database of a data folder, and the content of every file of it."""
    with closing(sqlite3.connect(folder / "covalab.db")) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            for row in connection.execute(f"SELECT * FROM {table}"):
                yield from (cell for cell in row if isinstance(cell, bytes))
    yield from (file.read_bytes() for file in (folder / "blobs").rglob("*") if file.is_file())


def pack(folder: Path, target: Path) -> None:
    """Archive what is kept of a data folder."""

    def plain(info: tarfile.TarInfo) -> tarfile.TarInfo:
        info.uid = info.gid = 0
        info.uname = info.gname = ""
        return info

    with tarfile.open(target, "w:xz", preset=9) as archive:
        for name in ("covalab.db", "blobs"):
            archive.add(folder / name, name, filter=plain)
