"""Which dispatch goes first."""

from __future__ import annotations

import time
from pathlib import Path

from tests.system.tasks import adding, witnessed
from tests.waiting import until

import covalab as ct
from covalab.client import Client


@ct.lattice
def many(n: int, witness: str, offset: int) -> object:
    """Tasks that write down their turn."""
    return [witnessed(offset + x, witness, 0.1) for x in range(n)]


def test_a_higher_priority_goes_first(own: Client, tmp_path: Path) -> None:
    """What was sent later with a higher priority overtakes what waits, not what runs."""
    witness = tmp_path / "witness"
    low = ct.dispatch(many)(30, str(witness), 0)
    until(lambda: own.summary(low).counts.completed >= 2)
    high = ct.dispatch(many, priority=5)(6, str(witness), 1000)
    ct.get_result(high, wait=True)
    rest_of_low = own.summary(low).counts.pending
    ct.get_result(low, wait=True)

    order = [int(line) for line in witness.read_text().split()]
    places = [place for place, task in enumerate(order) if task >= 1000]
    assert rest_of_low > 5
    assert places[-1] - places[0] < 6 + 8  # two workers, and a batch of four each that had left before


def test_a_small_dispatch_takes_its_turn_beside_a_large_one(own: Client) -> None:
    """It does not wait until twenty thousand nodes of another are done."""

    @ct.lattice
    def large(n: int) -> object:
        return [adding(x) for x in range(n)]

    first = ct.dispatch(large)(20_000)
    until(lambda: own.summary(first).counts.completed > 0)
    began = time.monotonic()
    small = ct.dispatch_sync(ct.lattice(adding))(1)
    took = time.monotonic() - began

    assert small.result == 2
    assert own.summary(first).status == "running", f"the large one had ended after {took:.1f} s"
    ct.cancel(first)
