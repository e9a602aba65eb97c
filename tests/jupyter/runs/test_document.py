"""Reading of notebooks: every version, damaged ones, other languages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nbformat
import pytest
from tests.jupyter.runs.notebooks import notebook, write

from covalab.jupyter.runs.document import NotebookRefused, document_from, read_document


def test_cells_have_ids_texts_and_tags(tmp_path: Path) -> None:
    """Code cells come in order, with their ids; prose is left out."""
    path = write(tmp_path / "n.ipynb", "x = 1", "#%prose", ("y = 2", {"tags": ["a"]}))

    cells = read_document(path).code_cells

    assert [(cell.position, cell.id, cell.text) for cell in cells] == [(0, "c0", "x = 1"), (2, "c2", "y = 2")]
    assert cells[1].tags == {"a"}


@pytest.mark.parametrize("minor", [0, 2, 4])
def test_cells_of_before_format_4_5_get_ids_that_stay(tmp_path: Path, minor: int) -> None:
    """Read twice, a notebook without ids has the same ids."""
    found = notebook("x = 1", "x = 1", "#%prose")
    found["nbformat_minor"] = minor
    for cell in found["cells"]:
        del cell["id"]
    path = tmp_path / "old.ipynb"
    path.write_text(json.dumps(found))

    first, second = read_document(path), read_document(path)

    ids = [cell["id"] for cell in first.json["cells"]]
    assert ids == [cell["id"] for cell in second.json["cells"]]
    assert len(set(ids)) == 3
    nbformat.validate(nbformat.from_dict(first.json))


def test_a_notebook_of_format_3_is_converted(tmp_path: Path) -> None:
    """Worksheets and `input` become cells and `source`."""
    old = {
        "nbformat": 3,
        "nbformat_minor": 0,
        "metadata": {"name": ""},
        "worksheets": [
            {
                "metadata": {},
                "cells": [
                    {"cell_type": "heading", "level": 1, "metadata": {}, "source": "Old"},
                    {"cell_type": "code", "language": "python", "input": "x = 1", "outputs": [], "metadata": {}},
                ],
            }
        ],
    }
    path = tmp_path / "three.ipynb"
    path.write_text(json.dumps(old))

    assert [cell.text for cell in read_document(path).code_cells] == ["x = 1"]


def test_ids_that_are_twice_there_are_made_unique() -> None:
    """A cell that was copied with its id gets another one; the first keeps it."""
    found = notebook("x = 1", "x = 2")
    found["cells"][1]["id"] = "c0"

    ids = [cell.id for cell in document_from(found, Path("/n.ipynb")).code_cells]

    assert ids[0] == "c0" != ids[1]


def test_damaged_outputs_do_not_keep_a_notebook_from_running() -> None:
    """Outputs that no reader could show are forgotten: they are made anew."""
    found = notebook("x = 1")
    found["cells"][0]["outputs"] = [{"output_type": "nonsense"}]

    assert document_from(found, Path("/n.ipynb")).code_cells[0].text == "x = 1"


def test_damaged_metadata_do_not_keep_a_notebook_from_running() -> None:
    """A tag that is no text is no tag; the others count."""
    found = document_from(notebook(("x = 1", {"tags": ["skip", 3]}), ("y = 1", {"collapsed": "yes"})), Path("/n.ipynb"))

    assert [cell.text for cell in found.code_cells] == ["x = 1", "y = 1"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it is empty"),
        ("# a script", "is not JSON"),
        ('{"a": 1', "is not JSON"),
        ("[1, 2]", "is JSON, but no notebook"),
        ('{"cells": []}', "is JSON, but no notebook"),
        (
            '{"cells": [{"cell_type": "poem", "metadata": {}}], "nbformat": 4, "nbformat_minor": 5, "metadata": {}}',
            "is damaged",
        ),
        ('{"cells": 3, "nbformat": 4, "nbformat_minor": 5, "metadata": {}}', "`cells` is no list of cells"),
        ('{"cells": [null], "nbformat": 4, "nbformat_minor": 5, "metadata": {}}', "`cells` is no list of cells"),
        ('{"nbformat": 4, "nbformat_minor": 5, "metadata": 3, "cells": []}', "at metadata; restore it"),
        (
            '{"cells": [], "nbformat": 99, "nbformat_minor": 5, "metadata": {}}',
            "cannot be read as format 99: .* up to 4",
        ),
        (
            '{"cells": [{"cell_type": "code", "source": "x = \'\\ud83d\'"}], "nbformat": 4, "metadata": {}}',
            r"cell 1 of the notebook .* has half of a character, \\ud83d",
        ),
    ],
)
def test_what_is_no_notebook_is_refused_with_the_reason(tmp_path: Path, text: str, said: str) -> None:
    """The message names the file and what is wrong with it."""
    path = tmp_path / "bad.ipynb"
    path.write_text(text)

    with pytest.raises(NotebookRefused, match=said) as refused:
        read_document(path)

    assert "bad.ipynb" in str(refused.value)


def test_what_programs_leave_out_is_added() -> None:
    """Metadata of the notebook and of cells that are not there, or null; half of a character in prose."""
    cells = [
        {"cell_type": "code", "source": ["x = 1\n", "x"], "metadata": None},
        {"cell_type": "markdown", "source": "a\ud83db"},
        {"cell_type": "code", "source": None},
    ]

    found = document_from({"cells": cells, "nbformat": 4, "nbformat_minor": 4}, Path("/n.ipynb"))

    assert [cell.text for cell in found.code_cells] == ["x = 1\nx", ""]
    assert found.json["cells"][1]["source"] == "a\ufffdb"
    nbformat.validate(nbformat.from_dict(found.json))


def test_a_missing_notebook_and_a_folder_are_refused(tmp_path: Path) -> None:
    """The message says which."""
    with pytest.raises(NotebookRefused, match=r"there is no notebook .*none\.ipynb"):
        read_document(tmp_path / "none.ipynb")
    with pytest.raises(NotebookRefused, match="is a folder"):
        read_document(tmp_path)


@pytest.mark.parametrize(
    "metadata",
    [
        {"kernelspec": {"name": "ir", "display_name": "R", "language": "R"}},
        {"language_info": {"name": "julia"}},
        {"kernelspec": {"name": "bash", "display_name": "Bash", "language": "bash"}, "language_info": {"name": "bash"}},
    ],
)
def test_other_languages_are_refused(metadata: dict[str, Any]) -> None:
    """The language is named."""
    with pytest.raises(NotebookRefused, match="covalab runs Python notebooks"):
        document_from(notebook("1", metadata=metadata), Path("/n.ipynb"))


@pytest.mark.parametrize(
    "metadata",
    [{}, {"kernelspec": {"name": "python3", "display_name": "Python 3"}}, {"language_info": {"name": "python"}}],
)
def test_a_notebook_needs_no_kernel_spec(metadata: dict[str, Any]) -> None:
    """Without one, or with half of one, it is Python."""
    assert document_from(notebook("1", metadata=metadata), Path("/n.ipynb")).code_cells
