"""Call a lattice from itself as a sublattice."""

from __future__ import annotations

from tests.system.programs.tasks import add

import covalab as ct


@ct.electron
@ct.lattice
def fibonacci(n: int) -> int:
    """Call itself twice."""
    if n < 2:
        return n
    return add(fibonacci(n - 1), fibonacci(n - 2))


@ct.lattice
def workflow(n: int) -> object:
    """Run the first sublattice."""
    return fibonacci(n)


def main() -> None:
    """Check the value, and the root dispatch of every level."""
    result = ct.dispatch_sync(workflow)(4)

    assert result.result == 3
    first = result.get_node_result(0)["sublattice_result"]
    second = first.get_node_result(0)["sublattice_result"]
    assert first.root_dispatch_id == second.root_dispatch_id == result.dispatch_id
    assert len({result.dispatch_id, first.dispatch_id, second.dispatch_id}) == 3
    assert (first.result, second.result) == (3, 2)
