"""The law of failures: cells that run after one that failed give what they give where it did not fail."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.law.broken_way import judge_broken
from tests.law.judge import plain_run
from tests.law.notebooks import Notebook, named, notebooks

from covalab.client import Client


@pytest.mark.nightly(10)
@pytest.mark.parametrize("notebook", notebooks(), ids=lambda one: one.name)
def test_what_runs_after_a_failure_needs_nothing_of_it(
    notebook: Notebook, plain_folder: Path, tmp_path: Path, live: Client
) -> None:
    """A cell that was wrongly taken for independent shows something else."""
    verdict = judge_broken(notebook, plain_run(notebook.name, plain_folder), tmp_path, live)

    assert verdict.status == "same", verdict.text


@pytest.mark.parametrize("name", ["closures_share", "functions_read_globals"])
def test_it_holds_for_functions_that_share_variables(
    name: str, plain_folder: Path, tmp_path: Path, live: Client
) -> None:
    """Two of them in each run: a call that was left out would have changed what another function reads."""
    verdict = judge_broken(named(name), plain_run(name, plain_folder), tmp_path, live)

    assert verdict.status == "same", verdict.text
