"""Run sublattices on the executor of the calling lattice, or on their own."""

from __future__ import annotations

import covalab as ct


@ct.electron
def identity(x: int) -> int:
    """Return the argument."""
    return x


@ct.electron
@ct.lattice
def plain(x: int) -> int:
    """Run without an executor of its own."""
    return identity(x)


@ct.electron
@ct.lattice(executor="dask")
def named(x: int) -> int:
    """Run on an executor of its own."""
    return identity(x)


@ct.lattice(executor="local")
def workflow(x: int) -> list[int]:
    """Call both."""
    return [plain(x), named(x)]


def main() -> None:
    """Check that the first has the executor of its parent, and the second its own."""
    result = ct.dispatch_sync(workflow)(5)

    assert result.result == [5, 5]
    seen = []
    for node in (0, 4):
        graph = result.get_node_result(node)["sublattice_result"].lattice.transport_graph
        seen.append(graph.get_node_value(0, "metadata")["executor"])
    assert seen == ["local", "dask"]
