"""Record a workflow without running it."""

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
    """It stays NEW_OBJECT, also when it is cancelled; a redispatch of it runs."""
    run = ct.dispatch(experiment, disable_run=True)(4)
    result = ct.get_result(run)

    assert result.status == ct.status.NEW_OBJECT
    assert not result.status
    assert result.result is None
    assert result.start_time is None
    ct.cancel(run)
    assert ct.get_result(run, status_only=True)["status"] == "NEW_OBJECT"
    assert ct.get_result(ct.redispatch(run)(), wait=True).result == 6
    assert ct.get_result(run).get_node_result(0)["status"] == ct.status.NEW_OBJECT
