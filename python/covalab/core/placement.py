"""Placement: the pool or executor host that runs a node, and the folders its task uses there, from the node's settings.

Pure. A graph has one ready queue for each pool it needs, nearly always one; batches never mix pools.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from covalab.core.model import VIRTUAL_KINDS, Environment, Graph, NodeKind, Settings

POOLED: Final = ("dask", "local")
"""The executors whose tasks run in a pool of ours. Every other one runs in the executor host of its environment."""

_OWN_FILE: Final = {"log_stdout": "stdout.log", "log_stderr": "stderr.log"}
"""What the built-in executors call their logs if nobody says: what is printed is in the store, so none are written."""


class PoolKey(msgspec.Struct, frozen=True):
    """One process that takes batches, by what it is.

    `scheduler` is the address of a Dask scheduler to join, `conda_env` the name or folder of a conda environment whose
    interpreter runs the process instead of `python`; with `or_here`, `python` does when that cannot be had.
    """

    kind: Literal["pool", "host"]
    python: str
    prefix: str
    scheduler: str = ""
    conda_env: str = ""
    or_here: bool = False


class TaskPaths(msgspec.Struct, frozen=True, array_like=True):
    """What a task finds where it runs, when its executor says so: its current folder, and files for what it prints."""

    workdir: str = ""
    log_stdout: str = ""
    log_stderr: str = ""


def pool_key(environment: Environment, settings: Settings) -> PoolKey:
    """Return where nodes with these settings run.

    Examples
    --------
    >>> here = Environment("/usr/bin/python", "/usr", "/home")
    >>> pool_key(here, Settings()).kind, pool_key(here, Settings("slurm")).kind
    ('pool', 'host')
    >>> far = {"attributes": {"scheduler_address": "tcp://far:8786"}}
    >>> pool_key(here, Settings("dask", far)).scheduler
    'tcp://far:8786'
    """
    python, prefix = environment.python, environment.prefix
    if settings.instance or settings.executor not in POOLED:
        return PoolKey("host", python, prefix)
    if not settings.executor_data:
        return PoolKey("pool", python, prefix)
    scheduler = _text(settings, "scheduler_address") if settings.executor == "dask" else ""
    if scheduler:
        return PoolKey("pool", python, prefix, scheduler)
    conda_env = _text(settings, "conda_env")
    or_here = bool(conda_env and _attributes(settings).get("current_env_on_conda_fail"))
    return PoolKey("pool", python, prefix, "", conda_env, or_here)


def queues_of(environment: Environment, graph: Graph) -> tuple[list[PoolKey], list[int]]:
    """Return the places that a graph uses, and for each of its nodes the number of its place; none if there is one.

    A sublattice is built in the environment's own pool where its executor is one of the host's: what it makes is a
    dispatch, not a value that an executor could carry.
    """
    home = pool_key(environment, Settings())
    by_settings = [pool_key(environment, settings) for settings in graph.settings]
    if all(place == home for place in by_settings):
        return [home], []
    places: dict[PoolKey, int] = {}
    queues = []
    for node in graph.nodes:
        queue = 0  # of nodes that never run
        if node.kind not in VIRTUAL_KINDS or node.function >= 0:
            place = by_settings[node.settings] if node.settings >= 0 else home
            if place.kind == "host" and node.kind is NodeKind.SUBLATTICE:
                place = home
            queue = places.setdefault(place, len(places))
        queues.append(queue)
    return list(places) or [home], queues if len(places) > 1 else []


def task_paths(settings: Settings, dispatch: str, node: int) -> TaskPaths | None:
    """Return what the task of a node finds where it runs; None where nothing was said, as nearly always."""
    if not settings.executor_data or settings.executor not in POOLED:
        return None
    workdir = _text(settings, "workdir")
    if _attributes(settings).get("create_unique_workdir"):
        workdir = f"{workdir or '.'}/{dispatch}/node_{node}"
    logs = [_text(settings, name) for name in _OWN_FILE]
    log_stdout, log_stderr = ("" if log == own else log for log, own in zip(logs, _OWN_FILE.values(), strict=True))
    site = TaskPaths(workdir, _log_file(log_stdout, dispatch), _log_file(log_stderr, dispatch))
    return site if site != TaskPaths() else None


def _log_file(name: str, dispatch: str) -> str:
    return name if not name or name.startswith(("/", "~")) else f"results/{dispatch}/{name}"


def _attributes(settings: Settings) -> dict[str, object]:
    attributes = settings.executor_data.get("attributes")
    return attributes if isinstance(attributes, dict) else {}


def _text(settings: Settings, name: str) -> str:
    value = _attributes(settings).get(name)
    return value if isinstance(value, str) else ""
