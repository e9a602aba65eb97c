"""Replace an electron of a recorded workflow."""

from __future__ import annotations

from tests.system.programs.tasks import experiment, fit, fit_twice

import covalab as ct


@ct.electron
@ct.lattice
def fit_below(values: list[int], scale: int = 1) -> int:
    """Take the place of `fit` with a sublattice."""
    return fit(values, scale=scale)


def main() -> None:
    """Check that the node has the replacement's name and the original arguments, also by keyword."""
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
