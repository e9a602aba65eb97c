"""Notices: what a dispatch waits for, mostly a worker where a pool has none, since when, and what can be done."""

from __future__ import annotations

import datetime as dt
from typing import Final

from covalab.core.dispatcher_status import PoolStatus

NOTICE_SECONDS: Final = 5.0
"""The time without a worker after which people are informed of it."""
START_SECONDS: Final = 60.0
"""The time that a cluster may take to start without anybody being informed of it."""
_SHOWN: Final = 3


def notice(pool: PoolStatus, now: float) -> str:
    """Return what a dispatch waits for that needs a worker of a pool, for people; nothing if it has one, or may soon.

    Examples
    --------
    >>> pool = PoolStatus("python", "up", 0, where="tcp://10.0.0.7:8786", unfit={"tcp://a:1": "no covalab there"})
    >>> notice(pool, 100.0)
    'waits for a worker of tcp://10.0.0.7:8786: there is none that can be used. tcp://a:1: no covalab there'
    >>> notice(PoolStatus("python", "up", 2), 100.0)
    ''
    """
    if pool.workers or pool.state == "failed":
        return ""
    patience = START_SECONDS if pool.state == "starting" else NOTICE_SECONDS
    if pool.waits_since is not None and now - pool.waits_since < patience:
        return ""
    where = pool.where or f"the cluster of {pool.python}"
    since = "" if pool.waits_since is None else f" since {_time(pool.waits_since)}"
    if pool.state == "starting":
        return f"waits for {where}, which is starting{since}" + (f" ({pool.message})" if pool.message else "")
    if pool.unfit:
        return f"waits for a worker of {where}: there is none that can be used{since}. {unfit_text(pool)}"
    jobs = jobs_text(pool) or "start one, or look at the queue of its jobs"
    return f"waits for a worker of {where}: there is none{since}; {jobs}"


def lack_notice(pool: PoolStatus, node: str, lack: str) -> str:
    """Return what a dispatch waits for when no worker of a pool has what a node needs.

    Examples
    --------
    >>> lack_notice(PoolStatus("python", "up", 2, where="cluster gpu"), "train", "GPU=2 (the most is 1)")
    "'train' needs GPU=2 (the most is 1); no worker of cluster gpu offers it: it waits for one that does"
    """
    where = pool.where or "this machine"
    return f"{node!r} needs {lack}; no worker of {where} offers it: it waits for one that does"


def trust_notice(dispatch: str) -> str:
    """Return what a dispatch waits for that somebody else wrote.

    Examples
    --------
    >>> trust_notice("5f3c")
    'waits until you trust it: your account did not write it, or it was changed since (`covalab trust 5f3c`)'
    """
    return (
        f"waits until you trust it: your account did not write it, or it was changed since (`covalab trust {dispatch}`)"
    )


def short_notice(pool: PoolStatus, node: str, time_limit: float, last_end: float) -> str:
    """Return what a dispatch waits for when all jobs of a pool end before a node's time is up.

    Examples
    --------
    >>> short_notice(PoolStatus("python", "up", 2, where="cluster gpu"), "train", 3600.0, 0.0).partition("at ")[0]
    "'train' may take 3600 s, and the jobs of cluster gpu end before, the last "
    """
    # A time and not how long that is: a text that changed all the time would be news all the time.
    return (
        f"{node!r} may take {time_limit:g} s, and the jobs of {pool.where} end before, the last at {_time(last_end)}: "
        "it waits for the next"
    )


def jobs_text(pool: PoolStatus) -> str:
    """Return how many jobs of a pool are queued, and what became of the last that died.

    Examples
    --------
    >>> from covalab.core.protocol import ClusterNews
    >>> jobs_text(PoolStatus("python", "up", 0, news=ClusterNews(2))), jobs_text(PoolStatus("python", "up", 0))
    ('2 jobs queued', '')
    """
    queued = pool.news.queued
    texts = [f"{queued} job{'s' * (queued != 1)} queued"] if queued else []
    return "; ".join([*texts, pool.news.dead] if pool.news.dead else texts)


def unfit_text(pool: PoolStatus) -> str:
    """Return why workers get no work: the first few, and how many more there are."""
    texts = [f"{worker}: {why}" for worker, why in sorted(pool.unfit.items())]
    more = f"; {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else ""
    return "; ".join(texts[:_SHOWN]) + more


def _time(at: float) -> str:
    return dt.datetime.fromtimestamp(at).strftime("%H:%M:%S")  # noqa: DTZ006 - the clock of the machine, as people read it
