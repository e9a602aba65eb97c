"""Rules of notebook runs that need no dispatcher: parameters, options, packages, edges, what is refused."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from tests.jupyter.runs.notebooks import Written, notebook, tagged

from covalab.blobs import InMemory
from covalab.core.model import EdgeKind, Submission
from covalab.jupyter.runs.building import flows_of, run_cells
from covalab.jupyter.runs.cell_options import CellOptions, options_of
from covalab.jupyter.runs.document import CodeCell, Document, NotebookRefused, document_from
from covalab.jupyter.runs.messages import RunOptions
from covalab.jupyter.runs.packages import imports_of, missing_imports
from covalab.jupyter.runs.parameters import INJECTED, inject, literal, unknown_parameters, value_of_text
from covalab.jupyter.runs.submission import submission_of

NO_OPTIONS = RunOptions()


def document(*cells: Written, metadata: dict[str, Any] | None = None, path: Path = Path("/n.ipynb")) -> Document:
    """Return a document of cells."""
    return document_from(notebook(*cells, metadata=metadata), path)


def submission(*cells: Written, folder: Path, options: RunOptions = NO_OPTIONS, **parameters: Any) -> Submission:
    """Return what the run of a notebook would send."""
    return submission_of(document(*cells, path=folder / "my book.ipynb"), parameters, options, InMemory())


def texts(found: Document) -> list[str]:
    """Return the code of a document."""
    return [cell.text for cell in found.code_cells]


# Parameters


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[("True", True), ("False", False), ("None", None), ("3", 3), ("-1", -1), ("2.5", 2.5), ("1e3", 1000.0)],
        *[("true", "true"), ("north", "north"), ("", ""), ("[1]", "[1]"), ("1_0", 10)],
    ],
)
def test_values_on_the_command_line(text: str, value: object) -> None:
    """What looks like a number or a constant is one; the rest is text."""
    found = value_of_text(text)

    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    "value",
    [None, True, 0, -3, 2**70, 1.5, float("inf"), 'it\'s "x"\n', [1, [2.0, None]], {"a b": {"c": [True]}}, "\ud800"],
)
def test_a_parameter_is_written_so_that_the_cell_has_it(value: object) -> None:
    """The literal evaluates to the value."""
    assert eval(literal("x", value), {"float": float}) == value


def test_not_a_number_is_written_too() -> None:
    """It evaluates to not a number."""
    found = eval(literal("x", float("nan")), {"float": float})

    assert found != found  # noqa: PLR0124 - only not a number does that


@pytest.mark.parametrize("value", [object(), {1, 2}, {1: 2}, b"x", 1j])
def test_other_values_are_refused_with_the_name(value: object) -> None:
    """The message says what to do."""
    with pytest.raises(NotebookRefused, match=r"'rate' .* write it to a file"):
        inject(document("1"), {"rate": value})


@pytest.mark.parametrize("name", ["", "a b", "class", "1a"])
def test_names_that_are_none_are_refused(name: str) -> None:
    """A parameter becomes a name of Python."""
    with pytest.raises(NotebookRefused, match="is no name in Python"):
        inject(document("1"), {name: 1})


def test_values_come_after_the_cell_that_has_the_defaults() -> None:
    """The injected cell has papermill's tag; without a tagged cell it is the first."""
    found = inject(document("#%head", "a", tagged("n = 1", "parameters"), "b"), {"n": 2, "s": "x"})
    alone = inject(document("#%head", "a"), {"n": 2})

    assert texts(found) == ["a", "n = 1", "# Parameters\nn = 2\ns = 'x'", "b"]
    assert found.code_cells[2].tags == {INJECTED}
    assert alone.json["cells"][0]["source"] == "# Parameters\nn = 2"


def test_an_executed_notebook_runs_with_other_values() -> None:
    """The cell that an earlier run injected is replaced, not added to."""
    once = inject(document(tagged("n = 1", "parameters"), "n"), {"n": 2})
    again = inject(once, {"n": 3})

    assert texts(again) == ["n = 1", "# Parameters\nn = 3", "n"]
    assert inject(again, {}) is again


def test_names_that_have_no_default_are_found() -> None:
    """Most likely they are misspelt."""
    tagged_cell = document(tagged("n = 1\nregion: str = 'x'", "parameters"))

    assert unknown_parameters(tagged_cell, ["n", "region", "regoin"]) == ["regoin"]
    assert unknown_parameters(document("n = 1"), ["n", "m"]) == []


# Options


@pytest.mark.parametrize(
    ("metadata", "whole", "expected"),
    [
        ({}, {}, CellOptions()),
        ({"tags": ["skip"]}, {}, CellOptions(skip=True)),
        ({"tags": ["skip-execution", "other"]}, {}, CellOptions(skip=True)),
        ({"tags": ["raises-exception"]}, {}, CellOptions(may_raise=True)),
        ({"tags": ["retries=2", "time-limit=1.5"]}, {}, CellOptions(retries=2, time_limit=1.5)),
        (
            {"covalab": {"retries": 3}},
            {"covalab": {"retries": 1, "time_limit": 9}},
            CellOptions(retries=3, time_limit=9.0),
        ),
        ({"covalab": {"node": 3, "status": "completed"}}, {"covalab": {"dispatch_id": "x"}}, CellOptions()),
        ({"covalab": "no dict", "tags": "no list"}, {"covalab": 3}, CellOptions()),
    ],
)
def test_options_of_a_cell(metadata: dict[str, Any], whole: dict[str, Any], expected: CellOptions) -> None:
    """Metadata of the cell go before its tags, these before the notebook's."""
    assert options_of(CodeCell(0, "a", "x", metadata), whole, "cell 1") == expected


@pytest.mark.parametrize("metadata", [{"tags": ["retries=many"]}, {"covalab": {"time_limit": -1}}])
def test_options_that_cannot_be_are_refused_with_the_cell(metadata: dict[str, Any]) -> None:
    """The message names the cell and the options that there are."""
    with pytest.raises(NotebookRefused, match=r"cell 4 has an option that cannot be.*retries"):
        options_of(CodeCell(0, "a", "x", metadata), {}, "cell 4")


@pytest.mark.parametrize(
    ("metadata", "whole"),
    [
        ({"tags": ["retry=2"]}, {}),
        ({"tags": ["timelimit = 3"]}, {}),
        ({"covalab": {"Retries": 2}}, {}),
        ({}, {"covalab": {"time-limits": 2}}),
    ],
)
def test_misspelt_options_are_refused(metadata: dict[str, Any], whole: dict[str, Any]) -> None:
    """An option that means nothing would be missed after hours only."""
    with pytest.raises(
        NotebookRefused, match=r"has an option '.*', which there is not: '(retries|time_limit)' is meant"
    ):
        options_of(CodeCell(0, "a", "x", metadata), whole, "cell 4")


@pytest.mark.parametrize("tag", ["stage=2", "owner=me", "retry", "Skip", "=", "a=b=c", "execute=no", "ref=fig:1"])
def test_tags_of_others_mean_nothing(tag: str) -> None:
    """Tags are the user's, and other programs'."""
    assert options_of(CodeCell(0, "a", "x", {"tags": [tag]}), {}, "cell 4") == CellOptions()


# Packages


def test_all_missing_packages_are_found_at_once(tmp_path: Path) -> None:
    """Each with its first cell; what is there, local modules included, is not named."""
    (tmp_path / "beside.py").write_text("")
    cells = [
        "import os, json, beside, no_such_a",
        "%matplotlib inline\nimport no_such_b.part as x, no_such_a",
        "import no_such_a",
    ]

    found = missing_imports(cells, [str(tmp_path), *sys.path])

    assert [(one.package, one.cell) for one in found] == [("no_such_a", 1), ("no_such_b", 2)]


@pytest.mark.parametrize(
    "cell",
    [
        "try:\n    import no_such\nexcept ImportError:\n    pass",
        "def f():\n    import no_such",
        "if False:\n    import no_such",
        "with suppress(ImportError):\n    import no_such",
        "from . import no_such",
        "'''\nimport no_such\n'''",
        "%%bash\nimport no_such",
        "import no_such as (",
        "%pip install no_such\nimport no_such",
        "!pip3 -q install no_such\nimport no_such",
        "import sys; sys.path.append('..')\nimport no_such",
        "%cd ..\nimport no_such",
        "%%writefile no_such.py\nx = 1",
    ],
)
def test_imports_that_may_not_fail_are_not_looked_at(cell: str) -> None:
    """A cell that can do without it, or makes it importable, is no reason to refuse."""
    assert missing_imports([cell], sys.path) == []


def test_cells_after_one_that_installs_are_not_looked_at() -> None:
    """What it installs is not known."""
    assert missing_imports(["%pip install that", "import no_such"], sys.path) == []
    assert [one.package for one in missing_imports(["import no_such", "%pip install that"], sys.path)] == ["no_such"]


def test_imports_of_ipython_cells() -> None:
    """Magics around an import do not hide it."""
    assert imports_of("!ls\nimport b.c\nawait f()") == ["b"]


# Building


def flows(*cells: str) -> list[dict[str, list[str]]]:
    """Return the edges between cells."""
    found = document(*cells).code_cells
    return flows_of([one.part for one in run_cells([(cell, CellOptions()) for cell in found])])


def test_edges_come_from_the_nearest_cell_before() -> None:
    """A name that is deleted comes from nowhere, a later cell gives nothing to an earlier one."""
    assert flows("x = 1", "y = x", "x = 2", "x + y", "del x", "x") == [
        {},
        {"make_x": ["x"]},
        {},
        {"make_x_2": ["x"], "make_y": ["y"]},
        {"make_x_2": ["x"]},
        {},
    ]
    assert flows("print(later)", "later = 1")[0] == {}


def test_names_of_electrons_are_those_of_lattice_or_the_number_of_the_cell(tmp_path: Path) -> None:
    """Made of what a cell sets; no two are the same, none hides a name that the lattice needs."""
    made = submission("x = 1", "x = 2", "print(x)", "def", "%%bash\nls", "session = 3", folder=tmp_path)

    names = [node.name for node in made.graph.nodes if node.name[0] != ":"]
    assert names == ["make_x", "make_x_2", "cell_3", "cell_4", "cell_5", "make_session"]
    assert made.graph.name == "my book"


def test_cells_that_do_not_run_have_no_node(tmp_path: Path) -> None:
    """Empty ones, and ones tagged `skip`; their outputs stay in the document."""
    made = submission("x = 1", "  \n", tagged("1/0", "skip"), "y = x", folder=tmp_path)

    run = made.notebook
    assert run is not None
    assert [cell.node >= 0 for cell in run.cells] == [True, False, False, True]
    order = [edge for edge in made.graph.edges if edge.kind is not EdgeKind.WAIT]
    assert order


def test_a_notebook_without_code_is_a_run_of_nothing(tmp_path: Path) -> None:
    """It completes."""
    assert submission("#%only prose", folder=tmp_path).graph.nodes is not None


def test_cells_that_ask_for_input_are_named_before_anything_runs(tmp_path: Path) -> None:
    """All of them at once, with the way out."""
    with pytest.raises(NotebookRefused, match=r"cells 1, 3 call input\(\).*parameter"):
        submission("name = input('?')", "x = 1", "for i in range(2):\n    print(input())", folder=tmp_path)


@pytest.mark.parametrize(
    "cell",
    [
        "def ask():\n    return input()",
        "if False:\n    input()",
        "try:\n    input()\nexcept EOFError:\n    pass",
        "input = len\ninput",
        "'input()'",
    ],
)
def test_cells_that_may_not_ask_for_input_run(tmp_path: Path, cell: str) -> None:
    """Only what asks on every way is refused."""
    assert submission(cell, folder=tmp_path).notebook is not None


def test_missing_packages_are_refused_unless_nobody_looks(tmp_path: Path) -> None:
    """All are in one message, with the interpreter."""
    with pytest.raises(NotebookRefused, match=r"no_such_a \(cell 1\), no_such_b \(cell 2\)") as refused:
        submission("import no_such_a", "import no_such_b", folder=tmp_path)
    assert sys.executable in str(refused.value)
    assert submission("import no_such_a", folder=tmp_path, options=RunOptions(check=False)).notebook is not None


def test_a_run_begins_in_a_fresh_path_with_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What this process added to its path is not that of a kernel which is started there."""
    monkeypatch.syspath_prepend(str(tmp_path / "mine"))
    (tmp_path / "mine").mkdir()

    where = submission("x = 1", folder=tmp_path).environment

    assert where.cwd == where.sys_path[0] == str(tmp_path)
    assert str(tmp_path / "mine") not in where.sys_path


@pytest.mark.parametrize("title", ["class", "None", "E=mc²", "\ufb01t", "½", "2024 report", "...", "日本", "cell_1"])
def test_a_notebook_may_have_any_name(tmp_path: Path, title: str) -> None:
    """Also one that is no name in Python; the dispatch is called as the file is."""
    made = submission_of(document("x = 1", path=tmp_path / f"{title}.ipynb"), {}, NO_OPTIONS, InMemory())

    assert made.graph.name == title


def test_local_modules_beside_the_notebook_travel(tmp_path: Path) -> None:
    """As they are now, with what they import."""
    (tmp_path / "helper.py").write_text("import other")
    (tmp_path / "other.py").write_text("x = 1")

    assert submission("%matplotlib inline\nimport helper", folder=tmp_path).local_modules
    assert not submission("x = 1", folder=tmp_path).local_modules
