"""Fitness of workers of another's cluster: whether a worker can take steps of this pool, and if not, why."""

from __future__ import annotations

import msgspec


class WorkerFacts(msgspec.Struct, frozen=True):
    """Facts that a worker gave about itself.

    Attributes
    ----------
    python
        Major and minor version of its interpreter.
    implementation
        Name of the interpreter: byte code of one is nothing to another.
    executable
        Path of the interpreter.
    covalab
        Version header of its covalab (`protocol.version_header`); empty if it cannot be imported.
    trouble
        Why covalab cannot be imported.
    token
        What it reads where the data folder has its token; empty if there is nothing: then values travel.
    host
        Name of its machine.
    cores
        Number of processors that it may use there.
    job_start, job_end
        When the batch job that it runs in began, and when that reaches its wall time; 0: not known.
    """

    python: tuple[int, int]
    implementation: str
    executable: str
    covalab: str = ""
    trouble: str = ""
    token: str = ""
    host: str = ""
    cores: int = 0
    job_start: float = 0.0
    job_end: float = 0.0


def unfit_reason(facts: WorkerFacts, wanted: WorkerFacts) -> str:
    """Return why a worker cannot take steps, and what to do about it; nothing if it can.

    Parameters
    ----------
    facts
        Those of the worker.
    wanted
        Those of this pool.

    Examples
    --------
    >>> here = WorkerFacts((3, 11), "cpython", "python", "0.1 protocol 7", token="t")
    >>> unfit_reason(here, here)
    ''
    >>> unfit_reason(msgspec.structs.replace(here, python=(3, 12)), here)
    'it has Python 3.12, and what it gets is byte code of 3.11; start it with Python 3.11'
    """
    if (facts.implementation, facts.python) != (wanted.implementation, wanted.python):
        here, there = _python(wanted, facts), _python(facts, wanted)
        return f"it has Python {there}, and what it gets is byte code of {here}; start it with Python {here}"
    if not facts.covalab:
        version = wanted.covalab.partition(" ")[0]
        return (
            f"covalab cannot be imported there ({facts.trouble}); install it and start the worker again: "
            f"{facts.executable} -m pip install covalab=={version}"
        )
    if facts.covalab != wanted.covalab:
        version = wanted.covalab.partition(" ")[0]
        return (
            f"it has covalab {facts.covalab}, and this is {wanted.covalab}; install the same and start the worker "
            f"again: {facts.executable} -m pip install covalab=={version}"
        )
    return ""


def _python(facts: WorkerFacts, other: WorkerFacts) -> str:
    version = ".".join(map(str, facts.python))
    return version if facts.implementation == other.implementation else f"{version} ({facts.implementation})"
