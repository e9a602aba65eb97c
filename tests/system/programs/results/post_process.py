"""Run the workflow function in this process by `Result.post_process`, with the values of its tasks."""

from __future__ import annotations

import covalab as ct

CALLS: list[int] = []


@ct.electron
def square(x: int) -> int:
    """Square; note that it was called in this process."""
    CALLS.append(x)
    return x * x


@ct.lattice
def workflow(x: int) -> tuple[int, dict[str, int]]:
    """Return a tuple."""
    first = square(x)
    return first, {"next": square(first)}


def main() -> None:
    """Check that the tuple is a tuple, and that no task runs again."""
    result = ct.dispatch_sync(workflow)(3)

    assert result.result == [9, {"next": 81}]
    assert result.post_process() == (9, {"next": 81})
    assert CALLS == []
