"""Capacity of workers and needs of nodes: which worker can take a node, and what to say where none ever can.

Pure. A worker of another's cluster has a capacity of its own. Those of this machine share one, the machine's: a node
that takes two processors there leaves one worker idle.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Final

import msgspec


class Needs(msgspec.Struct, frozen=True, array_like=True):
    """Needs of a node while it runs: processors, bytes of memory, and amounts of resources by name.

    Examples
    --------
    >>> str(Needs(2, 4_000_000_000, (("GPU", 1.0),)))
    'GPU=1, 2 cores, 4 GB'
    """

    cores: int = 1
    memory: int = 0
    resources: tuple[tuple[str, float], ...] = ()

    def __str__(self) -> str:
        texts = [f"{name}={amount:g}" for name, amount in self.resources]
        texts += [f"{self.cores} cores"] if self.cores > 1 else []
        texts += [memory_text(self.memory)] if self.memory else []
        return ", ".join(texts)

    def __add__(self, other: Needs) -> Needs:
        amounts = dict(self.resources)
        for name, amount in other.resources:
            amounts[name] = amounts.get(name, 0) + amount
        return Needs(self.cores + other.cores, self.memory + other.memory, tuple(amounts.items()))


_AMOUNT: Final = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)(I?)B?\s*", re.IGNORECASE)

NOTHING: Final = Needs(0)


class Capacity(msgspec.Struct, frozen=True):
    """Capacity of a worker. `ends_at`: when its job reaches its wall time, `seconds` how long that is.

    `memory` 0: not limited, or not known; `cores` 0, of workers that are still to come: not known.
    """

    cores: int = 1
    memory: int = 0
    resources: dict[str, float] = {}
    ends_at: float | None = None
    seconds: float | None = None


ONE_CORE: Final = Capacity()


def fits(needs: Needs, capacity: Capacity, used: Needs = NOTHING) -> bool:
    """Whether there is room for a node beside what is used already.

    Examples
    --------
    >>> gpu = Capacity(4, 0, {"GPU": 1})
    >>> one = Needs(resources=(("GPU", 1.0),))
    >>> fits(one, gpu), fits(one, gpu, one), fits(Needs(3), gpu, one), fits(Needs(4), gpu, one)
    (True, False, True, False)
    """
    if capacity.cores and used.cores + needs.cores > capacity.cores:
        return False
    if needs.memory and capacity.memory and used.memory + needs.memory > capacity.memory:
        return False
    taken = dict(used.resources)
    return all(
        taken.get(name, 0) + amount <= capacity.resources.get(name, 0) + 1e-9 for name, amount in needs.resources
    )


def lasts(time_limit: float | None, capacity: Capacity, now: float) -> bool:
    """Whether a worker is there for as long as a node may run; of one without a time limit, whether it is there now.

    Examples
    --------
    >>> lasts(60, Capacity(ends_at=1000.0), now=900), lasts(60, Capacity(ends_at=1000.0), now=960)
    (True, False)
    >>> lasts(None, Capacity(ends_at=1000.0), now=999), lasts(1e9, Capacity(), now=0)
    (True, True)
    """
    return capacity.ends_at is None or now + (time_limit or 0) < capacity.ends_at


def lack(needs: Needs | None, time_limit: float | None, capacities: Collection[Capacity]) -> str:
    """Return what of a node's needs no worker offers, even with nothing else to do; nothing if one does.

    Examples
    --------
    >>> lack(Needs(resources=(("GPU", 2.0),)), None, [Capacity(4), Capacity(4, 0, {"GPU": 1})])
    'GPU=2 (the most is 1)'
    >>> lack(Needs(8), None, [Capacity(4)]), lack(Needs(4), 7200, [Capacity(4, seconds=3600)])
    ('8 cores (the most is 4)', 'a time limit of 7200 s (jobs end after 3600 s)')
    >>> lack(Needs(8, 0, (("GPU", 1.0),)), None, [Capacity(8), Capacity(4, 0, {"GPU": 1})])
    'GPU=1, 8 cores (of one worker)'
    >>> lack(Needs(2), None, [Capacity(0)])
    ''
    """
    needs = needs or Needs()
    lasting = [it for it in capacities if it.seconds is None or time_limit is None or time_limit < it.seconds]
    if any(fits(needs, capacity) for capacity in lasting):
        return ""
    texts = [
        f"{name}={amount:g} (the most is {_most(it.resources.get(name, 0) for it in capacities):g})"
        for name, amount in needs.resources
        if not any(amount <= it.resources.get(name, 0) for it in capacities)
    ]
    if all(0 < it.cores < needs.cores for it in capacities):
        texts.append(f"{needs.cores} cores (the most is {_most(it.cores for it in capacities):g})")
    if all(0 < it.memory < needs.memory for it in capacities):
        texts.append(f"{memory_text(needs.memory)} (the most is {memory_text(_most(it.memory for it in capacities))})")
    if not lasting and time_limit is not None:
        longest = _most(it.seconds or 0 for it in capacities)
        texts.append(f"a time limit of {time_limit:g} s (jobs end after {longest:g} s)")
    return ", ".join(texts) or f"{needs} (of one worker)"


def parse_memory(amount: str | int) -> int:
    """Return bytes of an amount of memory: a number of them, or text with a unit.

    Raises
    ------
    ValueError
        If the amount is none.

    Examples
    --------
    >>> parse_memory("4 GB"), parse_memory("1.5GiB"), parse_memory("500M"), parse_memory(0)
    (4000000000, 1610612736, 500000000, 0)
    """
    if isinstance(amount, int) and not isinstance(amount, bool) and amount >= 0:
        return amount
    found = _AMOUNT.fullmatch(amount) if isinstance(amount, str) else None
    if found is None:
        message = f"{amount!r} is no amount of memory; write bytes, or e.g. '4 GB' or '500 MiB'"
        raise ValueError(message)
    base = 1024 if found[3] else 1000
    return int(float(found[1]) * base ** " KMGT".index(found[2].upper() or " "))


def memory_text(n_bytes: float) -> str:
    """Return an amount of memory for people.

    Examples
    --------
    >>> memory_text(4e9), memory_text(250_000_000)
    ('4 GB', '250 MB')
    """
    return f"{n_bytes / 1e9:.3g} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.3g} MB"


def _most(values: Iterable[float]) -> float:
    return max(values, default=0)
