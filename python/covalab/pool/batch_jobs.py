"""Jobs of a batch system behind a cluster class of dask-jobqueue: queued, running, or ended, and what their logs say.

dask-jobqueue submits jobs and never looks at them again: one whose script fails at once, or that reaches its wall time,
stays among the workers that are expected. Here the batch system is asked about the jobs that have no worker.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import dask

from covalab.config import DaskConfig
from covalab.pool.fitness import JOB_START

_log = logging.getLogger("covalab.pool")
_QUEUES: Final[Mapping[str, tuple[str, ...]]] = {
    "scancel": ("squeue", "-h", "-o", "%i %T", "-j"),
    "qdel": ("qstat",),
    "bkill": ("bjobs", "-noheader", "-o", "jobid stat"),
}
"""The commands that list jobs, by the one that cancels them."""
_GONE: Final = re.compile(r"invalid job id|unknown job|job has finished|is not found|does not exist", re.IGNORECASE)
_WAITING: Final = frozenset({"PENDING", "CONFIGURING", "Q", "H", "W", "PEND", "qw"})
_ENDED: Final = frozenset(
    {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "C", "F", "DONE", "EXIT"}
)
_LOG_LINES: Final = 4
_LOG_BYTES: Final = 4000


class JobStates(NamedTuple):
    """States of jobs that have no worker: those that are queued, and those that have ended."""

    queued: set[str]
    ended: set[str]


def is_batch_class(cluster_class: Any) -> bool:
    """Whether a cluster class is one of dask-jobqueue's, without importing that."""
    return isinstance(cluster_class, type) and any(
        base.__name__ == "JobQueueCluster" and base.__module__.startswith("dask_jobqueue")
        for base in cluster_class.__mro__
    )


def prepared(cluster_class: Any, config: DaskConfig, logs: Path) -> dict[str, Any]:
    """Return the arguments of a class of dask-jobqueue, with which a job's log is found, and when it began."""
    given = dict(config.cluster_kwargs)
    section = f"jobqueue.{given.get('config_name') or cluster_class.job_cls.config_name}"
    if not (given.get("log_directory") or dask.config.get(f"{section}.log-directory", None)):
        given["log_directory"] = str(logs)
    prologue = given.get("job_script_prologue") or dask.config.get(f"{section}.job-script-prologue", None) or []
    given["job_script_prologue"] = [f"export {JOB_START}=$(date +%s)", *prologue]
    return given


def configured_walltime(cluster_class: Any, config: DaskConfig) -> str:
    """Return the wall time that dask-jobqueue gives to jobs: of the arguments, or of Dask's own configuration."""
    section = f"jobqueue.{config.cluster_kwargs.get('config_name') or cluster_class.job_cls.config_name}"
    return str(config.cluster_kwargs.get("walltime") or dask.config.get(f"{section}.walltime", None) or "")


async def states(cancel_command: str, jobs: Iterable[str]) -> JobStates | None:
    """Ask the batch system about jobs. None if it does not answer, or is none that we can ask."""
    wanted = list(jobs)
    command = _QUEUES.get(cancel_command.split(maxsplit=1)[0] if cancel_command else "")
    if command is None or not wanted:
        return None if command is None else JobStates(set(), set())
    arguments = [",".join(wanted)] if command[0] == "squeue" else wanted
    try:
        process = await asyncio.create_subprocess_exec(
            *command, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        out, err = await asyncio.wait_for(process.communicate(), 30)
    except (OSError, TimeoutError) as error:
        _log.info("%s: %s", command[0], error)
        return None
    listed: dict[str, set[str]] = {}
    for line in out.decode(errors="replace").splitlines():
        first, *rest = line.split()
        listed[first.partition(".")[0]] = set(rest)
    if process.returncode and not listed and not _GONE.search(err.decode(errors="replace")):
        return None  # its server is away
    ended = {job for job in wanted if job not in listed or listed[job] & _ENDED}
    return JobStates({job for job in wanted if job not in ended and listed[job] & _WAITING}, ended)


def last_words(directory: str | None, job: str) -> str:
    """Return the last lines of a job's log and where that is; nothing if there is none."""
    folder = Path(directory or ".")
    found = [path for path in folder.glob(f"*{job}*") if re.search(rf"(?<!\d){job}(?!\d)", path.name)]
    for path in sorted(found, key=lambda path: path.suffix != ".err"):
        try:
            with path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - _LOG_BYTES))
                lines = file.read().decode(errors="replace").splitlines()
        except OSError:
            continue
        kept = [line.strip() for line in lines if line.strip()][-_LOG_LINES:]
        if kept:
            return f"{' | '.join(kept)} ({path})"
    return ""


class Deaths:
    """Jobs that ended without a worker: when the next one is asked for, and what is said about the last.

    One that fails at once would otherwise be submitted again and again.
    """

    def __init__(self, first_wait: float, longest_wait: float) -> None:
        self._first, self._longest = first_wait, longest_wait
        self._in_a_row = 0
        self.text = ""
        self.next_at = 0.0

    def note(self, job: str, words: str) -> None:
        """Note a job that died."""
        wait = min(self._longest, self._first * 2**self._in_a_row)
        self._in_a_row += 1
        self.next_at = time.monotonic() + wait
        log = f"its log ends: {words}" if words else "it has left no log"
        again = f"; {self._in_a_row} in a row, the next is asked for after {wait:g} s"
        self.text = f"job {job} ended before its worker came; {log}{again}"

    def forget(self) -> None:
        """A worker came: what was wrong is not any more."""
        self._in_a_row, self.text, self.next_at = 0, "", 0.0
