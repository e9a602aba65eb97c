"""Lets the workflows of `make.py` leave a data folder as it is when everything is killed while some of them run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from folder import (  # type: ignore[import-not-found]
    described,
    everything_written,
    globals_of,
    pack,
    relocate,
)

import covalab as ct
from covalab.triggers import BaseTrigger, DatabaseTrigger, DirTrigger, SQLiteTrigger, TimeTrigger

HERE = Path("/old")
DATA = HERE / "data"
WORK = HERE / "work"
NAME = "schema-10_commit-8c5dfc5"
FAR = "2100-01-01T00:00:00+00:00"
A_CENTURY = 3_000_000_000
SETTINGS = {
    "COVALAB_DATA_DIR": str(DATA),
    "COVALAB_CONFIG": str(HERE / "covalab.toml"),
    "COVALAB_WORKERS": "2",
    "COVALAB_IDLE_SECONDS": "600",
    "IPYTHONDIR": str(HERE / "ipython"),
}

flows: Any = sys.modules["__main__"]
"""`make.py`."""

CELLS = (
    "import math\nfactor = 3",
    "%%electron load\nimport json\ndata = json.loads('[1, 2, 3]')\nif len(data) > 5:\n    extra = 1",
    "%%electron use\nsize = sum(data) * factor\nif size > 100:\n    extra = 2\nfile = open('witness', 'a')",
    "%%electron signed(size, by=2) -> root, rest\nroot = math.sqrt(size)\nrest = size % by",
    "%lattice from_cells",
)
FAILING_CELLS = (
    "data = [1]",
    "%%electron load\nif len(data) > 5:\n    extra = 1",
    "%%electron use\nsize = extra + 1",
    "%lattice from_cells",
)


def from_cells(cells: tuple[str, ...]) -> str:
    """Dispatch cells of a notebook; returns the id."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    config = Config()
    config.HistoryManager.enabled = False
    main = sys.modules["__main__"]
    shell = InteractiveShell.instance(config=config)
    shell.run_line_magic("load_ext", "covalab")
    for cell in (*cells, "run = %dispatch from_cells()"):
        shell.run_cell(cell).raise_error()
    run = str(shell.user_ns["run"])
    InteractiveShell.clear_instance()
    sys.modules["__main__"] = main
    return run


def kept_values(done: str) -> dict[str, Any]:
    """Return something of each kind that a program can hold and send: all of ``ct``, and what that makes."""
    from covalab.core import errors

    found: dict[str, Any] = {f"ct_{name}": getattr(ct, name) for name in ct.__all__ if name != "metadata"}
    result = ct.get_result(done, wait=True)
    for name in dir(errors):
        error = getattr(errors, name)
        if isinstance(error, type) and issubclass(error, Exception):
            found[f"error_class_{name}"] = error
            with suppress(TypeError):
                found[f"error_{name}"] = error("words")
    strategies = {name: one for name, one in vars(ct.fs_strategies).items() if isinstance(one, type)}
    found |= {f"strategy_{name}": one for name, one in strategies.items()}
    found |= {f"executor_{name}": getattr(ct.executor, name) for name in ct.executor.__all__ if name[0] != "_"}
    found |= {
        "status": ct.status.COMPLETED,
        "task_status": ct.TaskStatus.COMPLETED,
        "task_error": ct.TaskError.from_exception(flows.Broken("kept")),
        "task": ct.get_task_result(done),
        "listed": ct.list_dispatches()[0],
        "summary": ct.summary(),
        "handle": ct.dispatch(flows.small)(1),
        "transportable": ct.TransportableObject([1, flows.Point(1, 2)]),
        "context": ct.get_context(),
        "record": result.full_record(),
        "inputs": result.inputs,
        "lattice": result.lattice,
        "small": flows.small,
        "electron": flows.plus,
        "sublattice": flows.part,
        "lepton_bash": flows.counting,
        "lepton_python": flows.hypotenuse,
        "lepton_c": flows.absolute,
        "deps_bash": ct.DepsBash("true"),
        "deps_pip": ct.DepsPip("msgspec"),
        "deps_bash_function": ct.DepsBash("true").apply_fn,
        "deps_pip_function": ct.DepsPip("msgspec").apply_fn,
        "deps_call": ct.DepsCall(flows.prepared, args=[1]),
        "local": ct.executor.LocalExecutor(),
        "dask": ct.executor.DaskExecutor(),
        "own": flows.Here(),
        "own_async": flows.AlsoHere(),
        "file": ct.fs.File("in.txt"),
        "folder": ct.fs.Folder("folder/"),
        "transfer": ct.fs.FileTransfer("in.txt", "out.txt"),
        "rsync": ct.fs.FileTransfer("in.txt", "out.txt", strategy=ct.fs_strategies.Rsync("me", "host")),
        "order": ct.fs.Order.AFTER,
        "time": TimeTrigger(60),
        "directory": DirTrigger("folder", "created"),
        "never": flows.Never(),
        "trigger_base": BaseTrigger,
    }
    return {name: value for name, value in found.items() if _travels(name, value)}


def _travels(name: str, value: Any) -> bool:
    from covalab.core.codec import decode, encode

    try:
        decode(encode(value).join())
    except Exception as error:  # noqa: BLE001 - whatever it is, it cannot be in a data folder
        print("does not travel:", name, error)
        return False
    return True


# Making the folder.


def until(what: Callable[[], object], seconds: float = 60) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def ended(run: str) -> Any:
    """Wait for a dispatch."""
    result = ct.get_result(run, wait=True, timeout=120)
    assert result.is_terminal, result
    return result


def completed() -> Iterator[tuple[str, str]]:
    """Dispatch what ends; yields what is expected to be its name here, and its id."""
    yield "small", ct.dispatch(flows.small)(1, y=4)
    yield "blob", ct.dispatch(flows.blob)(20_000)
    yield "blob_returned", ct.dispatch(flows.blob_returned)(10_000)
    yield "failing", ct.dispatch(flows.failing)(1)
    yield "retried", ct.dispatch(flows.retried)()
    yield "nested", ct.dispatch(flows.nested)(3)
    yield "spare", ct.dispatch(flows.nested)(2)
    yield "with_deps", ct.dispatch(flows.with_deps)(3)
    yield "with_files", ct.dispatch(flows.with_files)()
    yield "with_leptons", ct.dispatch(flows.with_leptons)("four")
    yield "operators", ct.dispatch(flows.operators)(3)
    yield "executors", ct.dispatch(flows.executors)(1)
    yield "hooked", ct.dispatch(flows.hooked)(1)
    yield "arguments", ct.dispatch(flows.arguments)(np.zeros(20_000), [1, np.ones(20_000)], by=2)
    yield "from_cells", from_cells(CELLS)
    yield "from_failing_cells", from_cells(FAILING_CELLS)
    yield "enqueued", ct.enqueue(flows.enqueued, 6, y=7).partition(":")[0]
    os.environ["COVALAB_EXHAUSTIVE_POSTPROCESS"] = "true"
    yield "exhaustive", ct.dispatch(flows.exhaustive)(3, shift=10)
    del os.environ["COVALAB_EXHAUSTIVE_POSTPROCESS"]


def replaced(run: str) -> str:
    """Repeat `small` with another electron, which its lattice then holds."""
    other = ct.electron(lambda x, y=1: x + 100 * y)
    return ct.redispatch(run, replace_electrons={"plus": other})()


def spoken_to() -> Iterator[tuple[str, str]]:
    """Dispatch what people have answered."""
    run = ct.dispatch(flows.live)(5)
    until(lambda: ct.get_interrupts(run))
    ct.intervene(run, {"more": 1}, author="me", note="a note", target="listening", metadata={"a": 1})
    ct.continue_with(run, None, flows.Point(9, 9), request_id="mine", actor="me")
    yield "live", run
    run = ct.dispatch(flows.planned)(6)
    until(lambda: ct.get_interrupts(run))
    ct.intervene(run, "now", target="here")
    ct.continue_with(run, value="word")
    yield "planned", run


def waiting() -> Iterator[tuple[str, str]]:
    """Dispatch what is not started, or not yet."""
    yield "held", ct.dispatch(flows.small, disable_run=True)(10)
    yield "watched", ct.dispatch(ct.lattice(flows.small.function, triggers=TimeTrigger(A_CENTURY)))(20)
    others = [
        DirTrigger("/old/nowhere", ["created", "modified"], recursive=True),
        SQLiteTrigger("/old/nowhere.db", "table"),
        DatabaseTrigger("sqlite:////old/nowhere.db", "table", where_clauses=["id > 1"]),
        flows.Never(),
    ]
    run = ct.dispatch(ct.lattice(flows.small.function, triggers=others))(30)
    ct.stop_triggers(run)
    yield "unwatched", run
    yield "scheduled", ct.dispatch(flows.small, eta=FAR)(40)
    run = ct.dispatch(flows.small, interval=A_CENTURY)(50)
    yield "series", run
    ended(run)
    until(lambda: len(ct.list_dispatches(schedule_id=run)) == 2)
    (following,) = [one.dispatch_id for one in ct.list_dispatches(schedule_id=run) if one.dispatch_id != run]
    yield "series_next", following


def unfinished() -> Iterator[tuple[str, str]]:
    """Dispatch what is under way when everything is killed."""
    client = ct.get_result(ct.list_dispatches()[0].dispatch_id)._client
    run = ct.dispatch(flows.asking)(1)
    until(lambda: ct.get_interrupts(run))
    yield "asking", run
    run = ct.dispatch(flows.asking)(2)
    until(lambda: ct.get_interrupts(run))
    ct.pause(run)
    ct.continue_with(run, value=5)
    yield "paused", run
    run = ct.dispatch(flows.small, auto_close=False)(60)
    until(lambda: client.summary(run).counts.completed == 2)
    yield "open", run
    run = ct.dispatch(flows.to_be_retried)()
    until(lambda: client.node(run, 0).next_at)
    yield "to_be_retried", run
    run = ct.dispatch(flows.half_done)(4)
    until(lambda: client.summary(run).counts.completed == 4 and Path("go-began").exists())
    yield "half_done", run
    run = ct.dispatch(flows.half_done_parts)(3)
    until(lambda: Path("part-began").exists() and client.dispatches(root=run))
    until(lambda: any(one.counts.completed for one in client.dispatches(root=run)))
    yield "half_done_parts", run


AT_LAST = {
    "held": "13",
    "watched": "23",
    "unwatched": "33",
    "scheduled": "43",
    "series_next": "53",
    "asking": "9",
    "paused": "8",
    "open": "63",
    "to_be_retried": "'there'",
    "half_done": "19",
    "half_done_parts": "13",
}
"""The values, as texts, of what has not ended: of a dispatch that waits for an answer, with 7."""


def kill_everything() -> None:
    """End the dispatcher, and what it started, at once."""
    client = ct.get_result(ct.list_dispatches()[0].dispatch_id)._client
    dispatcher = psutil.Process(client.status().pid)
    family = [dispatcher, *dispatcher.children(recursive=True)]
    pids = {pool.pid for pool in client.status().pools if pool.pid}
    family += [process for pid in pids for process in (psutil.Process(pid), *psutil.Process(pid).children(True))]
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)
    psutil.wait_procs(family, timeout=20)


def main() -> None:
    """Write everything."""
    os.environ |= SETTINGS
    sys.path.remove(os.path.realpath(HERE / "python"))  # found there, too; a real path that would be recorded
    for folder in (DATA, WORK):
        shutil.rmtree(folder, ignore_errors=True)
    WORK.mkdir(parents=True)
    os.chdir(WORK)
    Path("in.txt").write_text("in")

    runs = dict(completed())
    for run in runs.values():
        ended(run)
    runs["replaced"] = replaced(runs["small"])
    runs["cancelled"] = ct.dispatch(flows.cancelled)()
    until(Path("never-began").exists)
    ct.cancel(runs["cancelled"])
    ended(runs["cancelled"])
    runs |= dict(spoken_to())
    values = kept_values(runs["small"])
    runs["everything"] = ct.dispatch(flows.everything)(values)
    for run in runs.values():
        ended(run)
    runs |= dict(waiting())
    expected = {name: described(ct.get_result(run)) for name, run in runs.items()}
    for run in (one.dispatch_id for one in ct.list_dispatches() if one.dispatch_id not in runs.values()):
        ended(run)
        ct.get_result(run)._client.delete(run)
    last = dict(unfinished())
    expected |= {name: described(ct.get_result(run)) for name, run in last.items()}
    for name, value in AT_LAST.items():
        expected[name]["at_last"] = value
    kill_everything()

    relocate(
        DATA / "covalab.db",
        python=str(HERE / "venv/bin/python"),
        prefix=str(HERE / "venv"),
        cwd=str(WORK),
        shell_env={"PATH": "/usr/bin:/bin"},
    )
    with closing(sqlite3.connect(DATA / "covalab.db")) as connection:
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    named = sorted({name for data in everything_written(DATA) for name in globals_of(data)})
    (HERE / "globals.txt").write_text("\n".join(named) + "\n")
    (HERE / "expected.json").write_text(json.dumps(expected, indent=1, ensure_ascii=False) + "\n")
    pack(DATA, HERE / f"{NAME}.tar.xz")
