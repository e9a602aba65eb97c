"""A sublattice takes the executors of the lattice that calls it, unless it names its own."""

from __future__ import annotations

import covalab as ct


@ct.electron
def identity(x: int) -> int:
    """Return it."""
    return x


@ct.electron
@ct.lattice
def plain(x: int) -> int:
    """Name none."""
    return identity(x)


@ct.electron
@ct.lattice(executor="dask")
def named(x: int) -> int:
    """Name one."""
    return identity(x)


@ct.lattice(executor="local")
def workflow(x: int) -> list[int]:
    """Call both."""
    return [plain(x), named(x)]


def main() -> None:
    """The first runs where its parent does, the second where it says."""
    result = ct.dispatch_sync(workflow)(5)

    assert result.result == [5, 5]
    seen = []
    for node in (0, 4):
        graph = result.get_node_result(node)["sublattice_result"].lattice.transport_graph
        seen.append(graph.get_node_value(0, "metadata")["executor"])
    assert seen == ["local", "dask"]
