"""Examination of another's workers before they get a step, by a text: they may have neither covalab nor our Python.

A function of ours would be looked up by name there, and a worker that cannot import it ends; one that travels by value
is byte code of this Python. `eval` of a text is the same everywhere.
"""

from __future__ import annotations

import asyncio
import os
import platform
import secrets
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
from distributed import Client

from covalab.core.fitness import WorkerFacts, unfit_reason
from covalab.core.protocol import version_header

JOB_START: Final = "COVALAB_JOB_START"
"""The environment variable with which a job says when it began."""
EXAMINATION_SECONDS: Final = 60.0
"""The wait for the facts of a worker, which may have to import covalab from a slow disk."""
_TOKEN: Final = "token"  # noqa: S105 - a name
_TOKEN_LENGTH: Final = 64

_TIMES: Final = {
    "job_start": ("SLURM_JOB_START_TIME", JOB_START),
    "job_end": ("SLURM_JOB_END_TIME", "COVALAB_JOB_END"),
}
"""The environment variables in which a job finds when it began and when it will be ended."""

_QUESTION: Final = """
import os, platform, socket, sys
facts = {
    "python": tuple(sys.version_info[:2]),
    "implementation": platform.python_implementation().lower(),
    "executable": sys.executable,
    "host": socket.gethostname(),
    "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 0,
}
for name, variables in times.items():
    for variable in variables:
        try:
            facts.setdefault(name, float(os.environ[variable]))
        except (KeyError, ValueError):
            pass
try:
    with open(path) as file:
        facts["token"] = file.read(100)
except OSError:
    pass
try:
    import covalab.pool.dask_tasks
    from covalab.core.protocol import version_header
    facts["covalab"] = version_header()
except Exception as error:
    facts["trouble"] = f"{type(error).__name__}: {error}"
"""


class Examiner:
    """Examiner of the workers of one cluster.

    Parameters
    ----------
    client
        The client of the cluster.
    data
        The data folder.
    carry
        Lets values travel to a worker that does not see the data folder. Returns why they cannot.
    """

    def __init__(self, client: Client, data: Path, carry: Callable[[str], Awaitable[str]]) -> None:
        self.facts: dict[str, WorkerFacts] = {}
        self._client = client
        self._carry = carry
        self._token = data / "logs" / _TOKEN
        self._wanted = WorkerFacts(
            sys.version_info[:2],
            platform.python_implementation().lower(),
            sys.executable,
            covalab=version_header(),
            token=_made_token(self._token),
        )

    async def unfit_reason(self, worker: str) -> str:
        """Return why a worker gets no step; nothing if it is fit."""
        names = {"path": str(self._token), "times": _TIMES}
        question = f"(lambda names: exec({_QUESTION!r}, names) or names['facts'])({names!r})"
        try:
            answers = await asyncio.wait_for(
                self._client.run(eval, question, workers=[worker], on_error="return"), EXAMINATION_SECONDS
            )
            facts = msgspec.convert(answers[worker], WorkerFacts)
        except TimeoutError:
            return f"it did not answer within {EXAMINATION_SECONDS:g} s"
        except Exception as error:  # noqa: BLE001 - Dask raises what it likes for a worker that is gone
            return f"it could not be asked what it has: {type(error).__name__}: {error}"
        self.facts[worker] = facts
        reason = unfit_reason(facts, self._wanted)
        if reason or facts.token == self._wanted.token:
            return reason
        return await self._carry(worker)


def _made_token(path: Path) -> str:
    """Return the token of a data folder: a text that nobody else's folder has. Made when it is first needed."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileExistsError):
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(secrets.token_hex(_TOKEN_LENGTH // 2))
    return path.read_text(encoding="utf-8")
