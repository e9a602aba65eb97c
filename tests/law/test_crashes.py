"""The law of crashes: kill -9 of any process at a random cell, and the notebook is what a plain run of it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.law.crash_way import VICTIMS, judge_crash
from tests.law.notebooks import Notebook, named, notebooks

from covalab.client import Client


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("victim", "name"),
    list(zip(VICTIMS, ("modern_generator", "generators_pause", "aliases_across_cells"), strict=True)),
    ids=list(VICTIMS),
)
def test_whatever_is_killed_the_notebook_is_that_notebook(victim: str, name: str, own: Client, tmp_path: Path) -> None:
    """Random state, a generator that is half way, aliases; killed at a cell that a seed chooses."""
    verdict = judge_crash(named(name), tmp_path / name, own, victim)
    assert verdict.status == "same", verdict.text


@pytest.mark.nightly(8)
@pytest.mark.parametrize("notebook", notebooks(), ids=lambda one: one.name)
def test_every_notebook_survives_every_kill(notebook: Notebook, own: Client, tmp_path: Path) -> None:
    """Dispatcher, pool and task process, each at a cell of its own."""
    for victim in VICTIMS:
        verdict = judge_crash(notebook, tmp_path / victim, own, victim)
        assert verdict.status == "same", verdict.text
