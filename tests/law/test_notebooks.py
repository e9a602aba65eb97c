"""The law of the background: a notebook gives there what it gives here."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest
from tests.law.compare import differences, report
from tests.law.judge import judge
from tests.law.notebooks import Notebook, named, notebooks
from tests.law.ways import WAYS, Run, Way, run_plainly

from covalab.client import Client

ALL = notebooks()


@pytest.fixture(scope="session")
def plain_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the plain runs."""
    return tmp_path_factory.mktemp("plain")


@functools.cache
def plain_run(name: str, folder: Path) -> Run:
    """Return the plain run of a notebook, made once."""
    return run_plainly(named(name).cells, folder / name)


@pytest.mark.sampled(6)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("notebook", ALL, ids=lambda one: one.name)
def test_a_notebook_in_the_background_is_that_notebook(
    notebook: Notebook, way: Way, plain_folder: Path, tmp_path: Path, live: Client
) -> None:
    """All names, all outputs and all errors are those of the plain run."""
    verdict = judge(notebook, way, plain_run(notebook.name, plain_folder), tmp_path, live)

    assert verdict.status == "same", verdict.text


@pytest.mark.sampled(2)
@pytest.mark.parametrize("notebook", ALL, ids=lambda one: one.name)
def test_cells_need_no_ids(notebook: Notebook, plain_folder: Path, tmp_path: Path, live: Client) -> None:
    """nbclient, papermill and nbconvert send no ids of cells, and no cell is lost or mixed up."""
    verdict = judge(notebook, "whole", plain_run(notebook.name, plain_folder), tmp_path, live, with_ids=False)

    assert verdict.status == "same", verdict.text


@pytest.mark.sampled(2)
@pytest.mark.parametrize("notebook", ALL, ids=lambda one: one.name)
def test_a_plain_run_is_determined(notebook: Notebook, plain_folder: Path, tmp_path: Path) -> None:
    """Two plain runs are the same, so that a difference is one that the background made."""
    found = differences(plain_run(notebook.name, plain_folder), run_plainly(notebook.cells, tmp_path / "again"))

    assert not found, report(found, notebook.name)
