"""Return containers, constants and nothing from sublattices; tuples and sets become lists, as everywhere."""

from __future__ import annotations

from typing import Any

from tests.system.programs.tasks import double

import covalab as ct


@ct.electron
@ct.lattice
def container(x: int) -> Any:
    """Mix values and tasks."""
    return {"double": double(x), "pair": (x, double(x + 1))}


@ct.electron
@ct.lattice
def constant() -> Any:
    """Call no task."""
    return "nothing to do"


@ct.electron
@ct.lattice
def empty() -> Any:
    """Return nothing."""


@ct.lattice
def workflow(x: int) -> Any:
    """Use parts of them."""
    made = container(x)
    return made["double"], made["pair"], constant(), empty()


def main() -> None:
    """Check that a node's output is the value of its lattice."""
    result = ct.dispatch_sync(workflow)(3)

    assert result.result == [6, [3, 8], "nothing to do", None]
    assert result.get_node_result(0)["output"].get_deserialized() == {"double": 6, "pair": [3, 8]}
