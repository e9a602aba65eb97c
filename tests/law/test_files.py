"""The law of notebook runs: a notebook that is run from its file gives what it gives here."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.law.file_way import judge_file
from tests.law.judge import plain_run
from tests.law.notebooks import Notebook, notebooks

from covalab.client import Client

ALL = notebooks()
_QUICK = """
    decorators class_grows redefinitions exceptions_caught async_cells files_written_and_read displays outputs_change
    error_of_a_name error_of_syntax
"""
IN_EACH_RUN = [one for one in ALL if one.name in _QUICK.split()]
OTHERS = [one for one in ALL if one.name not in _QUICK.split()]
BESIDE = [one for one in ALL if one.name in ("redefinitions", "exceptions_caught", "outputs_change")]
"""Notebooks of which cells run beside others."""


@pytest.mark.sampled(2)
@pytest.mark.parametrize("notebook", IN_EACH_RUN, ids=lambda one: one.name)
def test_a_notebook_from_its_file_is_that_notebook(
    notebook: Notebook, plain_folder: Path, tmp_path: Path, live: Client
) -> None:
    """All names, all outputs and all errors are those of the plain run."""
    check(notebook, plain_folder, tmp_path, live)


@pytest.mark.nightly(10)
@pytest.mark.parametrize("notebook", OTHERS, ids=lambda one: one.name)
def test_every_other_notebook_from_its_file_is_that_notebook(
    notebook: Notebook, plain_folder: Path, tmp_path: Path, live: Client
) -> None:
    """The same of those that are slow, or that nobody has seen pass yet."""
    check(notebook, plain_folder, tmp_path, live)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("notebook", BESIDE, ids=lambda one: one.name)
def test_a_notebook_whose_cells_run_side_by_side_is_that_notebook(
    notebook: Notebook, plain_folder: Path, tmp_path: Path, live: Client
) -> None:
    """The same where each cell that may begin before its turn does."""
    check(notebook, plain_folder, tmp_path, live, parallel=True)


@pytest.mark.nightly(10)
@pytest.mark.parametrize("notebook", [one for one in ALL if one not in BESIDE], ids=lambda one: one.name)
def test_every_other_notebook_whose_cells_run_side_by_side_is_that_notebook(
    notebook: Notebook, plain_folder: Path, tmp_path: Path, live: Client
) -> None:
    """The same of all."""
    check(notebook, plain_folder, tmp_path, live, parallel=True)


def check(notebook: Notebook, plain_folder: Path, tmp_path: Path, live: Client, *, parallel: bool = False) -> None:
    """Compare one notebook with its plain run."""
    verdict = judge_file(notebook, plain_run(notebook.name, plain_folder), tmp_path, live, parallel=parallel)

    assert verdict.status == "same", verdict.text
