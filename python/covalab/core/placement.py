"""Placement: the pool or executor host that runs a node, and the folders its task uses there, from the node's settings.

Pure. A graph has one ready queue for each pool it needs, nearly always one; batches never mix pools.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, Literal

import msgspec

from covalab.core.model import VIRTUAL_KINDS, DispatchId, Environment, Graph, NodeKind, Settings

POOLED: Final = ("dask", "local")
"""The executors whose tasks run in a pool. Every other one runs in the executor host of its environment."""

_OWN_FILE: Final = {"log_stdout": "stdout.log", "log_stderr": "stderr.log"}
"""The default log files of the built-in executors. Output is in the store, so these are not written."""


class PoolKey(msgspec.Struct, frozen=True):
    """Key of a pool or executor host: two nodes with the same key share the process.

    `scheduler` is the address of a Dask scheduler to join, `conda_env` the name or folder of a conda environment whose
    interpreter runs the process instead of `python`; with `or_here`, `python` does when that cannot be had. With `home`
    the workers are on this machine, whatever cluster the configuration names; `cluster` is the name of one of several.
    """

    kind: Literal["pool", "host"]
    python: str
    prefix: str
    scheduler: str = ""
    conda_env: str = ""
    or_here: bool = False
    home: bool = False
    cluster: str = ""


class TaskPaths(msgspec.Struct, frozen=True, array_like=True):
    """Paths of a task, where its executor names them: its current folder, and files for its output."""

    workdir: str = ""
    log_stdout: str = ""
    log_stderr: str = ""


def pool_key(
    environment: Environment, settings: Settings, *, has_cluster: bool = False, clusters: Collection[str] = ()
) -> PoolKey:
    """Return the key of the pool that runs nodes with these settings.

    Parameters
    ----------
    environment
        The environment of the dispatch.
    settings
        The settings of the nodes.
    has_cluster
        Whether the configuration names a cluster: then the executor ``local`` has a pool of its own, on this machine.
    clusters
        The clusters that have a name, by which they are executors.

    Examples
    --------
    >>> here = Environment("/usr/bin/python", "/usr", "/home")
    >>> pool_key(here, Settings()).kind, pool_key(here, Settings("slurm")).kind
    ('pool', 'host')
    >>> far = {"attributes": {"scheduler_address": "tcp://far:8786"}}
    >>> pool_key(here, Settings("dask", far)).scheduler
    'tcp://far:8786'
    >>> pool_key(here, Settings("local")) == pool_key(here, Settings("dask"))
    True
    >>> pool_key(here, Settings("local"), has_cluster=True).home
    True
    >>> pool_key(here, Settings("gpu"), clusters={"gpu"}).cluster
    'gpu'
    """
    python, prefix = environment.python, environment.prefix
    if settings.executor in clusters and not settings.instance:
        return PoolKey("pool", python, prefix, cluster=settings.executor)
    if settings.instance or settings.executor not in POOLED:
        return PoolKey("host", python, prefix)
    home = has_cluster and settings.executor == "local"
    if not settings.executor_data:
        return PoolKey("pool", python, prefix, home=home)
    scheduler = _text(settings, "scheduler_address") if settings.executor == "dask" else ""
    if scheduler:
        return PoolKey("pool", python, prefix, scheduler)
    conda_env = _text(settings, "conda_env")
    or_here = bool(conda_env and _attributes(settings).get("current_env_on_conda_fail"))
    return PoolKey("pool", python, prefix, "", conda_env, or_here, home)


def queues_of(
    environment: Environment, graph: Graph, *, has_cluster: bool = False, clusters: Collection[str] = ()
) -> tuple[list[PoolKey], list[int]]:
    """Return the pools that a graph uses, and for each node the number of its pool; an empty list if there is one.

    A sublattice is built in the environment's own pool where its executor is one of the host's: it makes a
    dispatch, not a value that an executor could carry.
    """
    home = pool_key(environment, Settings())
    by_settings = [
        pool_key(environment, settings, has_cluster=has_cluster, clusters=clusters) for settings in graph.settings
    ]
    if all(pool == home for pool in by_settings):
        return [home], []
    pools: dict[PoolKey, int] = {}
    queues = []
    for node in graph.nodes:
        queue = 0  # of nodes that never run
        if node.kind not in VIRTUAL_KINDS or node.function >= 0:
            pool = by_settings[node.settings] if node.settings >= 0 else home
            if pool.kind == "host" and node.kind is NodeKind.SUBLATTICE:
                pool = home
            queue = pools.setdefault(pool, len(pools))
        queues.append(queue)
    return list(pools) or [home], queues if len(pools) > 1 else []


def task_paths(settings: Settings, dispatch: DispatchId, node: int) -> TaskPaths | None:
    """Return the paths of a node's task; None if its executor names none, as nearly always."""
    if not settings.executor_data or settings.executor not in POOLED:
        return None
    workdir = _text(settings, "workdir")
    if _attributes(settings).get("create_unique_workdir"):
        workdir = f"{workdir or '.'}/{dispatch}/node_{node}"
    logs = [_text(settings, name) for name in _OWN_FILE]
    log_stdout, log_stderr = ("" if log == own else log for log, own in zip(logs, _OWN_FILE.values(), strict=True))
    paths = TaskPaths(workdir, _log_file(log_stdout, dispatch), _log_file(log_stderr, dispatch))
    return paths if paths != TaskPaths() else None


def _log_file(name: str, dispatch: DispatchId) -> str:
    return name if not name or name.startswith(("/", "~")) else f"results/{dispatch}/{name}"


def _attributes(settings: Settings) -> dict[str, object]:
    attributes = settings.executor_data.get("attributes")
    return attributes if isinstance(attributes, dict) else {}


def _text(settings: Settings, name: str) -> str:
    value = _attributes(settings).get(name)
    return value if isinstance(value, str) else ""
