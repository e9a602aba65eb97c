"""The law of reuse: a notebook that is run again, or with one cell edited, gives what a plain run of it gives."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.law.judge import plain_run
from tests.law.notebooks import Notebook, notebooks
from tests.law.reuse_way import judge_reuse

from covalab.client import Client


@pytest.mark.nightly(10)
@pytest.mark.parametrize("notebook", notebooks(), ids=lambda one: one.name)
def test_a_second_run_and_an_edited_one_are_that_notebook(
    notebook: Notebook, plain_folder: Path, tmp_path: Path, live: Client
) -> None:
    """All names, outputs, errors and files are those of a plain run, whatever did not run again."""
    verdict = judge_reuse(notebook, plain_run(notebook.name, plain_folder), tmp_path, live)

    assert verdict.status == "same", verdict.text
