"""Run a recorded workflow again: as it was, and with other arguments."""

from __future__ import annotations

import covalab as ct


@ct.electron
def load(n: int) -> list[int]:
    """Make some numbers."""
    return list(range(n))


@ct.electron
def fit(values: list[int], scale: int = 1) -> int:
    """Add them up."""
    return sum(values) * scale


@ct.electron
def fit_twice(values: list[int], scale: int = 1) -> int:
    """Stand for `fit`."""
    return sum(values) * scale * 2


@ct.lattice
def experiment(n: int, scale: int = 1) -> int:
    """Load, then fit."""
    return fit(load(n), scale=scale)


def main() -> None:
    """A new id each time; keyword arguments are not forgotten; node numbers stay."""
    run = ct.dispatch(experiment)(4, scale=3)
    assert ct.get_result(run, wait=True).result == 18
    again = ct.redispatch(run)()
    other = ct.redispatch(run)(5, scale=2)

    result = ct.get_result(again, wait=True)
    assert again != run
    assert result.status == ct.status.COMPLETED
    assert type(result.result) is int
    assert result.result == 18
    assert ct.get_result(other, wait=True).result == 20
    assert result.get_node_result(0)["node_name"] == "load"
    assert result.get_node_result(1)["node_name"] == ":parameter:4"
    assert result.get_node_result(2)["node_name"] == "fit"
