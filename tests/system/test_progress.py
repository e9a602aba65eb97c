"""Progress of running tasks: what readers see of `ct.set_progress` and of tqdm's bars, and when it is gone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.waiting import until

import covalab as ct
from covalab.client import Client
from covalab.core.model import DispatchChanges, NodeProgress


def wait_for(gate: Path) -> None:
    """Wait until a file is there."""
    until(gate.exists)


@ct.electron
def counting(gate: Path) -> int:
    """Say how far it is, thousands of times."""
    for step in range(20_000):
        ct.set_progress(step, 40_000, "steps")
    ct.set_progress(20_000, 40_000, "steps")
    wait_for(gate)
    return 1


@ct.electron
def bars(gate: Path) -> int:
    """Show nested bars of tqdm; only the outer one counts."""
    from tqdm.auto import tqdm

    outer = tqdm(total=8, desc="outer", mininterval=0)
    for _ in range(2):
        for _ in tqdm(range(5), desc="inner", leave=False):
            pass
        outer.update(1)
    wait_for(gate)
    outer.close()
    return 2


@ct.lattice
def both(gate: Path) -> Any:
    """Run both."""
    return [counting(gate), bars(gate)]


def test_readers_see_how_far_running_tasks_are(live: Client, tmp_path: Path) -> None:
    """By node, and as a share of the whole; both are gone with the end."""
    gate = tmp_path / "gate"
    run = ct.dispatch(both)(gate)

    def seen() -> dict[str, NodeProgress]:
        changes = live.changes(run)
        names = [node.name for node in live.graph(run).nodes]
        return {names[one.node]: one for one in changes.progress}

    def has_both() -> bool:
        return {name: (it.done, it.total, it.text) for name, it in seen().items()} == {
            "counting": (20_000.0, 40_000.0, "steps"),
            "bars": (2.0, 8.0, "outer"),
        }

    until(has_both)
    until(lambda: live.summary(run).progress == 0.375)
    gate.touch()
    result = ct.get_result(run, wait=True)
    assert result.result == [1, 2]
    ended: DispatchChanges = live.changes(run)
    assert (ended.progress, ended.summary.progress) == ([], None)


def test_progress_outside_of_a_task_does_nothing() -> None:
    """So that a function can be called anywhere; what is no number is refused."""
    ct.set_progress(1, 2)
    with pytest.raises(TypeError, match="two numbers"):
        ct.set_progress("1", 2)  # type: ignore[arg-type]
