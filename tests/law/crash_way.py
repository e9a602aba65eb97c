"""The way of a crash: a process is killed while a random cell of a notebook runs, and nobody can tell.

Between two cells there is one more, which has no names and shows nothing. It waits until the process is gone; its plain
run does not wait.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from tests.law.compare import differences, failed, report
from tests.law.file_way import run_as_file
from tests.law.judge import Verdict
from tests.law.notebooks import Notebook
from tests.law.ways import run_plainly
from tests.waiting import until

from covalab.client import Client
from covalab.client.launcher import find


def _dispatcher(client: Client, _: int) -> int:
    address = find(client.data_dir)
    assert address is not None
    return address.pid


VICTIMS: Final[Mapping[str, Callable[[Client, int], int]]] = MappingProxyType(
    {
        "dispatcher": _dispatcher,
        "pool": lambda client, _: client.status().pools[0].pid,
        "task process": lambda _, task: task,
    }
)
"""The process that is killed, by what it is called; given are the client and the process of the cells."""


def judge_crash(notebook: Notebook, folder: Path, client: Client, victim: str, *, seed: int = 0) -> Verdict:
    """Run a notebook from its file, kill a process at a random cell, and compare with a plain run."""
    flags = folder / "flags"
    flags.mkdir(parents=True)
    go, at = flags / "go", flags / "at"
    # No name is set, and no name is read.
    gate = (
        f"__import__('pathlib').Path({str(at)!r}).write_text(str(__import__('os').getpid()))\n"
        f"while not __import__('os').path.exists({str(go)!r}): __import__('time').sleep(0.02)"
    )
    place = random.Random(f"{notebook.name} {victim} {seed}").randrange(1, len(notebook.cells))
    cells = [*notebook.cells[:place], gate, *notebook.cells[place:]]
    go.touch()
    plain = run_plainly(cells, folder / "gated")
    go.unlink()
    at.unlink(missing_ok=True)

    def crash() -> None:
        if plain.failed_at is not None and plain.failed_at < place:
            return  # it does not come so far
        until(lambda: at.exists() and at.read_text() != "")
        os.kill(VICTIMS[victim](client, int(at.read_text())), signal.SIGKILL)
        go.touch()

    run, _ = run_as_file(cells, folder / "crash", client, parallel=True, meanwhile=crash)
    title = f"{notebook.name}, {victim} killed before cell {place}"
    found = differences(plain, run, cells=len(run.outputs), way="whole")
    said = "" if plain.failed_at is not None else failed(run)
    if said:
        return Verdict("failed", f"{title}: failed: {said}\n{report(found, title)}", found)
    return Verdict("different", report(found, title), found) if found else Verdict("same", f"    {title}")
