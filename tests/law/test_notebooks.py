"""The law of the background: a notebook gives there what it gives here."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.law.compare import differences, report
from tests.law.judge import judge, plain_run
from tests.law.notebooks import Notebook, notebooks
from tests.law.ways import WAYS, Way, run_plainly

from covalab.client import Client

ALL = notebooks()
_QUICK = """
    decorators dataclasses_and_enums class_grows abstract_shapes redefinitions operators_and_protocols
    recursion_and_trees typing_and_protocols exceptions_caught lambdas_and_sorting bank_of_patterns async_cells
    files_written_and_read arrays_in_files regular_expressions text_statistics markov_text dates_and_times
    a_database threads_and_pools
    comments_and_nothing displays outputs_change environment_and_paths error_of_a_name error_of_syntax
"""
IN_EACH_RUN = [one for one in ALL if one.name in _QUICK.split()]
OTHERS = [one for one in ALL if one.name not in _QUICK.split()]


@pytest.mark.sampled(4)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("notebook", IN_EACH_RUN, ids=lambda one: one.name)
def test_a_notebook_in_the_background_is_that_notebook(
    notebook: Notebook, way: Way, plain_folder: Path, tmp_path: Path, live: Client
) -> None:
    """All names, all outputs and all errors are those of the plain run."""
    check(notebook, way, plain_folder, tmp_path, live)


@pytest.mark.nightly(24)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("notebook", OTHERS, ids=lambda one: one.name)
def test_every_other_notebook_is_that_notebook(
    notebook: Notebook, way: Way, plain_folder: Path, tmp_path: Path, live: Client
) -> None:
    """The same of those that are slow, or that nobody has seen pass yet."""
    check(notebook, way, plain_folder, tmp_path, live)


def check(notebook: Notebook, way: Way, plain_folder: Path, tmp_path: Path, live: Client) -> None:
    """Compare one notebook with its plain run."""
    verdict = judge(notebook, way, plain_run(notebook.name, plain_folder), tmp_path, live)

    assert verdict.status == "same", verdict.text


@pytest.mark.sampled(1)
@pytest.mark.parametrize("notebook", IN_EACH_RUN, ids=lambda one: one.name)
def test_cells_need_no_ids(notebook: Notebook, plain_folder: Path, tmp_path: Path, live: Client) -> None:
    """nbclient, papermill and nbconvert send no ids of cells, and no cell is lost or mixed up."""
    verdict = judge(notebook, "whole", plain_run(notebook.name, plain_folder), tmp_path, live, with_ids=False)

    assert verdict.status == "same", verdict.text


@pytest.mark.sampled(1)
@pytest.mark.parametrize("notebook", IN_EACH_RUN, ids=lambda one: one.name)
def test_a_plain_run_is_determined(notebook: Notebook, plain_folder: Path, tmp_path: Path) -> None:
    """Two plain runs are the same, so that a difference is one that the background made."""
    found = differences(plain_run(notebook.name, plain_folder), run_plainly(notebook.cells, tmp_path / "again"))

    assert not found, report(found, notebook.name)
