"""Replace an electron of a recorded workflow."""

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


@ct.electron
@ct.lattice
def fit_below(values: list[int], scale: int = 1) -> int:
    """Stand for `fit` with a dispatch of its own."""
    return fit(values, scale=scale)


@ct.lattice
def experiment(n: int, scale: int = 1) -> int:
    """Load, then fit."""
    return fit(load(n), scale=scale)


def main() -> None:
    """The node takes the replacement's name; the original arguments are used, by keyword too."""
    run = ct.dispatch(experiment)(n=4, scale=3)
    again = ct.redispatch(run, replace_electrons={"fit": fit_twice})()
    result = ct.get_result(again, wait=True)

    assert result.status == ct.status.COMPLETED
    assert result.result == 36
    assert result.get_node_result(2)["node_name"] == "fit_twice"
    assert ct.get_result(run, wait=True).result == 18
    result = ct.get_result(ct.redispatch(run, replace_electrons={"fit": fit_below})(), wait=True)
    assert result.result == 18
    assert result.get_node_result(2)["node_name"] == ":sublattice:fit_below"
    assert result.get_node_result(2)["sublattice_result"].result == 18
    # And back: an electron takes the place of a sublattice.
    result = ct.get_result(ct.redispatch(result.dispatch_id, replace_electrons={"fit_below": fit_twice})(), wait=True)
    assert result.result == 36
    assert all(node["sublattice_result"] is None for node in result.get_all_node_results())
    try:
        ct.redispatch(run, replace_electrons={"train": fit_twice})()
    except ct.GraphError as error:
        assert "fit, load" in str(error)
    else:
        raise AssertionError
