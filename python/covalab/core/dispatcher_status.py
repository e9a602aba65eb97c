"""Status of a dispatcher and its pools, as `covalab status` and pages show it."""

from __future__ import annotations

from typing import Literal

import msgspec

from covalab.core.protocol import ClusterNews


class PoolStatus(msgspec.Struct, frozen=True):
    """One pool: the interpreter it runs under, how many workers it has and whether it is up.

    `kind` says whether its workers are Dask's or the slots of an executor host; `where` what sets it apart from the
    interpreter's usual one: the address of a scheduler, or a conda environment.
    """

    python: str
    state: Literal["starting", "up", "failed"]
    workers: int
    pid: int = 0
    message: str = ""
    kind: Literal["pool", "host"] = "pool"
    where: str = ""
    unfit: dict[str, str] = {}  # workers of another's cluster that get no work, and why
    waits_since: float | None = None  # it has had no worker since then
    carried: int = 0  # workers that do not see the data folder: values travel to and from them
    news: ClusterNews = ClusterNews()
    store_trouble: str = ""  # why their values do not go through the object store that there is to be
    waiting_cores: int = 0  # for so many there is work that waits for a worker


class DispatcherStatus(msgspec.Struct, frozen=True):
    """Status of the dispatcher."""

    version: str
    pid: int
    epoch: int
    data_dir: str
    started_at: float
    active: int  # dispatches that are not terminal
    pools: list[PoolStatus] = []
    scheduled: int = 0  # dispatches that wait for their time
