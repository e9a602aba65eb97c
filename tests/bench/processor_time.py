"""Processor time of a piece of work by part: of this process, and of each kind of process that serves it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import psutil

_KINDS = {
    "covalab.dispatcher": "dispatcher",
    "covalab.pool": "pool",
    "covalab.worker.stem": "stems",
    "covalab.pool.dask_tasks": "workers",
}


def by_part(root: int, work: Callable[[], None], times: int) -> dict[str, float]:
    """Return the seconds of processor time of one piece of work by part.

    Parameters
    ----------
    root
        The process whose descendants serve: the dispatcher, or this process for the workers of raw Dask.
    work
        The piece of work.
    times
        How often it is done: so often that the clock of the kernel (10 ms) is fine enough.
    """
    me = psutil.Process()
    before, own = _seconds(root), sum(me.cpu_times()[:2])
    for _ in range(times):
        work()
    after, own = _seconds(root), sum(me.cpu_times()[:2]) - own
    parts = {part: after[part] - before.get(part, 0.0) for part in sorted(after) if part != "client"}
    return {part: spent / times for part, spent in {"client": own, **parts}.items()}


def _seconds(root: int) -> dict[str, float]:
    """Return what each part has used so far; task processes that ended are children of their stem."""
    found: dict[str, float] = defaultdict(float)
    process = psutil.Process(root)
    for one in [process, *process.children(recursive=True)]:
        try:
            times, kind = one.cpu_times(), _kind(one)
        except psutil.NoSuchProcess:
            continue
        found[kind] += times.user + times.system
        if kind == "stems":
            found["task processes"] += times.children_user + times.children_system
    return found


def _kind(process: psutil.Process) -> str:
    """Return what a process is: a fork has the command line of the process that forked it."""
    parent = process.parent()
    line = process.cmdline()
    kind = next((kind for word in line for name, kind in _KINDS.items() if word == name), "workers")
    if kind == "stems" and parent is not None and parent.cmdline() == line:
        return "task processes"
    return kind if process.pid != psutil.Process().pid else "client"
