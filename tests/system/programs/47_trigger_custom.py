"""Write a trigger of your own, and attach it to an existing dispatch."""

from __future__ import annotations

import time

import covalab as ct
from covalab.triggers import BaseTrigger


class Twice(BaseTrigger):
    """Fires twice."""

    def observe(self) -> None:
        """Fire."""
        self.trigger()
        self.trigger()

    def stop(self) -> None:
        """End by itself."""


@ct.electron
def double(x: int) -> int:
    """Double."""
    return 2 * x


@ct.lattice
def workflow(x: int) -> int:
    """Run one task."""
    return double(x)


def main() -> None:
    """It needs no registration of its class; the object learns the new ids."""
    run = ct.dispatch(workflow)(21)
    assert ct.get_result(run, wait=True).result == 42
    trigger = Twice()
    trigger.lattice_dispatch_id = run
    trigger.register()
    while trigger.state == "watching":
        time.sleep(0.1)

    assert trigger.to_dict()["name"] == "Twice"
    assert len(trigger.new_dispatch_ids) == 2
    for new in trigger.new_dispatch_ids:
        assert ct.get_result(new, wait=True, timeout=60).result == 42
