"""The notebooks run from top to bottom in a real kernel, and what they made is there for the next one."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook

import covalab as ct
from covalab.client import Client
from covalab.core.model import DispatchId

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def printed(cell: NotebookNode) -> str:
    """Return what a cell printed."""
    return "".join(output.text for output in cell.outputs if output.output_type == "stream" and output.name == "stdout")


def executed(notebook: NotebookNode, folder: Path) -> NotebookNode:
    """Run a notebook in a kernel of its own, which is gone afterwards."""
    client = NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(folder)}})
    return client.execute()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_kept_without_outputs(path: Path) -> None:
    """What is committed is what people wrote; every cell has an id of its own."""
    notebook = nbformat.read(path, as_version=4)

    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)


@pytest.mark.sampled(1, of="file")
def test_the_first_dispatch_and_what_is_left_of_it(live: Client, tmp_path: Path) -> None:
    """The notebook finds a good model, shows it, and a second kernel finds everything by the printed ids."""
    notebook = executed(nbformat.read(FOLDER / "01_first_dispatch.ipynb", as_version=4), tmp_path)

    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    last = printed(code[-1])
    found = re.fullmatch(r"sweep: ([0-9a-f-]{36})\nexperiment: ([0-9a-f-]{36})\naccuracy: (0\.\d+|1\.0)\n", last)
    assert found is not None, last
    sweep, experiment, accuracy = found[1], found[2], float(found[3])
    assert accuracy > 0.97
    trained = [node for node in live.graph(sweep).nodes if node.name == "train_svm"]
    assert len(trained) >= 20
    images = [output.data for cell in code for output in cell.outputs if "image/png" in output.get("data", {})]
    assert len(images) == 1
    shown = [output.data for cell in code for output in cell.outputs if "data" in output]
    assert sum("application/vnd.covalab.dispatch+json" in data for data in shown) >= 4
    assert sum("application/vnd.covalab.cell+json" in data for data in shown) == 1

    second = executed(
        new_notebook(
            cells=[
                new_code_cell(
                    "import covalab as ct\n"
                    f"result = ct.get_result({experiment!r})\n"
                    "score, matrix = result.result\n"
                    "print(score, matrix.shape, matrix.sum())\n"
                    f"print(len(ct.get_result({sweep!r}).result))"
                )
            ]
        ),
        tmp_path,
    )
    assert printed(second.cells[0]) == f"{accuracy} (10, 10) 450\n24\n"


def complaints(notebook: NotebookNode) -> list[NotebookNode]:
    """Return what the cells of a notebook wrote to stderr: warnings, and errors that nobody expected."""
    return [output for cell in notebook.cells for output in cell.get("outputs", []) if output.get("name") == "stderr"]


@pytest.mark.sampled(1, of="file")
def test_covalents_features_one_by_one(live: Client, tmp_path: Path) -> None:
    """Every section of the second notebook does what its text says; nothing in it warns or fails by mistake."""
    notebook = executed(nbformat.read(FOLDER / "02_covalent_programs.ipynb", as_version=4), tmp_path)

    shown = {
        cell.id: printed(cell) + "".join(shown_values(cell)) for cell in notebook.cells if cell.cell_type == "code"
    }
    text = "\n".join(shown.values())
    for expected in (
        "{2.8: 1, 3.2: 2, 3.5: 4, 3.9: 0}",
        "period 1 becomes period 2 between r = 2.9937 and 3.0031",
        "orbits that did not run again: 4",
        "preparing in",
        "[1, 2, 3]",
        "runs with niceness 5",
        "Status(STATUS='CANCELLED')",
        "[[0.975], [0.975]]",
        "0: fragile: IndexError: list index out of range",
        "42\n",
    ):
        assert expected in text, expected
    assert not complaints(notebook)
    doubling = re.search(r"doubling: ([0-9a-f-]{36})", text)
    assert doubling is not None
    assert live.summary(DispatchId(doubling[1])).status == "completed"


@pytest.mark.sampled(1, of="file")
def test_tasks_retries_and_people(live: Client, tmp_path: Path) -> None:
    """Every section of the third notebook does what its text says; nothing in it warns or fails by mistake."""
    notebook = executed(nbformat.read(FOLDER / "03_tasks_retries_and_people.ipynb", as_version=4), tmp_path)

    text = "\n".join(
        printed(cell) + "\n".join(shown_values(cell)) for cell in notebook.cells if cell.cell_type == "code"
    )
    for expected in (
        "COMPLETED 7461 clicks",
        "run 1: FAILED, roof does not answer\nrun 2: FAILED, roof does not answer\nrun 3: COMPLETED, answered",
        "{'roof': 7391, 'cellar': 7522}",
        "FAILED after 1 run: timeout",
        "not supported between instances of 'float' and 'str' | 1 run",
        "after 4 min: 12.45 +- 0.23 clicks per second\nafter 8 min:",
        "12.46 after 16 minutes\n'nobody measured that'",
        "9 minutes kept, 12.47 clicks per second\nAda | somebody walked past with a banana | inserted | applied",
        "RUNNING and waiting",
        "approval  12.46",
        "was answered with {'publish': True, 'by': 'Ada'}.",
        "12.47 clicks per second, checked by Ada",
        "approval resumed\n'not published'",
        "paused: True",
        "[752, 756]",
        "minutes=3: counting",
    ):
        assert expected in text, expected
    assert not complaints(notebook)
    survey = re.search(r"survey: ([0-9a-f-]{36})", text)
    assert survey is not None
    assert live.summary(DispatchId(survey[1])).status == "completed"


def shown_values(cell: NotebookNode) -> list[str]:
    """Return the texts of the values that a cell showed."""
    return [output.data.get("text/plain", "") for output in cell.outputs if "data" in output]


@pytest.mark.sampled(1, of="file")
def test_a_notebook_runs_itself_in_the_background(live: Client, tmp_path: Path) -> None:
    """The fourth notebook does what its text says, and its first part is the same in a kernel and in the background."""
    path = Path(shutil.copy(FOLDER / "04_this_notebook_in_the_background.ipynb", tmp_path))
    notebook = executed(nbformat.read(path, as_version=4), tmp_path)

    text = "\n".join(
        printed(cell) + "\n".join(shown_values(cell)) for cell in notebook.cells if cell.cell_type == "code"
    )
    for expected in (
        "a year of 365 days: 23 people",
        "left as they are here: half, chances (--replace takes those of the run)",
        "loaded when a cell first reads them: chances",
        "(23, 60)",
        "mars.ipynb mars.md",
    ):
        assert expected in text, expected
    assert not complaints(notebook)
    assert re.search(r"a year of 687 days: 3\d people", (tmp_path / "mars.md").read_text())

    run = ct.run_notebook(path)
    assert ct.get_result(run, wait=True, timeout=240)["half"] == 23
    here = {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}
    found = nbformat.from_dict(ct.get_result(run).notebook())
    there = {
        cell.id: cell.outputs
        for cell in found.cells
        if cell.cell_type == "code" and "skip" not in cell.metadata.get("tags", [])
    }
    assert len(there) == 5
    assert there == {cell: here[cell] for cell in there}
