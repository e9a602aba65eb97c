"""Write a trigger of your own, and attach it to an existing dispatch."""

from __future__ import annotations

import time

from tests.system.programs.tasks import double

import covalab as ct
from covalab.triggers import BaseTrigger


class Twice(BaseTrigger):
    """Trigger that fires twice."""

    def observe(self) -> None:
        """Fire twice."""
        self.trigger()
        self.trigger()

    def stop(self) -> None:
        """Do nothing: it ends by itself."""


@ct.lattice
def workflow(x: int) -> int:
    """Run one task."""
    return double(x)


def main() -> None:
    """Check that its class needs no registration, and that the object lists the new ids."""
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
        assert ct.get_result(new, wait=True, timeout=120).result == 42
