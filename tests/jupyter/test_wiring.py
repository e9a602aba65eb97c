"""Electron cells wired by names: who makes what, in which order, and what is said when something is missing."""

from __future__ import annotations

import textwrap
from typing import Any

import pytest

from covalab.jupyter.cells.cell import kind_of, read_cell
from covalab.jupyter.cells.header import read_header
from covalab.jupyter.cells.ipython_lines import CellRefused
from covalab.jupyter.notebook.linking import WiredElectron
from covalab.jupyter.notebook.wiring import wire


def part(line: str, code: str) -> WiredElectron:
    """Return an electron cell; the line must at least name it."""
    header = read_header(line)
    assert header.name is not None
    cell = read_cell(f"%%electron {line}\n{textwrap.dedent(code)}")
    return WiredElectron(header.name, cell, header.arguments, header.outputs)


def wired(
    parts: list[WiredElectron], namespace: dict[str, Any] | None = None, line: str = "flow", **options: Any
) -> str:
    """Return the source of the lattice."""
    known = namespace or {}
    header = read_header(line)
    assert header.name is not None

    def kind(name: str) -> Any:
        return kind_of(known[name]) if name in known else "none"

    return wire(header.name, parts, kind, arguments=header.arguments, **options).source


def body(source: str) -> list[str]:
    """Return the lines below the `def`."""
    return [line.strip() for line in source.splitlines()[1:]]


def test_a_name_goes_from_the_cell_that_makes_it_to_those_that_use_it() -> None:
    """The written lattice is the Python that a person would write."""
    source = wired([part("load", "X = [1]\ny = [2]"), part("fit", "model = (X, y)"), part("score", "s = (model, X)")])

    assert source == (
        "def flow():\n    X, y = load()\n    model = fit(X, y)\n    s = score(model, X)\n    return {'s': s}\n"
    )


def test_a_changed_name_makes_a_chain() -> None:
    """A cell that takes and makes a name stands between the cells before and after it."""
    parts = [
        part("load", "df = {}"),
        part("clean", "df['a'] = 1"),
        part("scale", "df = dict(df)"),
        part("show", "n = len(df)"),
    ]

    assert body(wired(parts)) == ["df = load()", "df = clean(df)", "df = scale(df)", "n = show(df)", "return {'n': n}"]


def test_the_last_cell_before_counts() -> None:
    """Two cells that make the same name shadow each other in the order of the notebook."""
    parts = [part("a", "x = 1"), part("b", "y = x"), part("c", "x = 2"), part("d", "z = x")]

    assert body(wired(parts)) == ["x = a()", "y = b(x)", "x = c()", "z = d(x)", "return {'y': y, 'z': z}"]


def test_what_no_cell_makes_comes_from_the_notebook() -> None:
    """Data of the namespace enters as a parameter, code travels without being named."""
    source = wired([part("make", "ys = [twice(x) for x in xs]")], {"xs": [1], "twice": lambda x: 2 * x})

    assert body(source) == ["ys = make(notebook(xs))", "return {'ys': ys}"]


def test_a_parameter_of_the_lattice_stands_in_for_the_notebook() -> None:
    """`%lattice flow(limit=3)` makes it an argument of every dispatch."""
    source = wired([part("make", "ys = list(range(limit))")], {"limit": 9}, line="flow(limit=3)")

    assert source.startswith("def flow(limit=3):\n    ys = make(limit)\n")


def test_a_cell_before_wins_over_the_notebook_and_one_after_does_not() -> None:
    """The namespace may be stale where a cell makes the name, and is right where only a later cell does."""
    before = wired([part("a", "x = 1"), part("b", "y = x")], {"x": 5})
    after = wired([part("b", "y = x"), part("a", "x = 1")], {"x": 5})

    assert body(before)[:2] == ["x = a()", "y = b(x)"]
    assert body(after)[:2] == ["y = b(notebook(x))", "x_of_a = a()"]


def test_cells_that_were_run_out_of_order_are_put_in_order() -> None:
    """A name that only a later cell makes comes from there."""
    assert body(wired([part("b", "y = x"), part("a", "x = 1")])) == ["x = a()", "y = b(x)", "return {'y': y}"]


def test_cells_in_a_circle_are_refused() -> None:
    """The message names them."""
    with pytest.raises(CellRefused, match="'a' and 'b' need each other"):
        wired([part("a", "x = y"), part("b", "y = x")])


def test_a_missing_value_names_the_cell_and_the_line() -> None:
    """Nothing is guessed; the way out is part of the message."""
    with pytest.raises(CellRefused, match=r"electron 'fit' needs 'X' \(line 3 of its cell\).*%lattice flow\(X\)"):
        wired([part("fit", "a = 1\nmodel = X")])


def test_a_deleted_name_is_not_there_any_more() -> None:
    """A cell after a `del` is told who deleted the name."""
    with pytest.raises(CellRefused, match="electron 'use' needs 'x', which electron 'drop' deletes"):
        wired([part("make", "x = 1"), part("drop", "del x"), part("use", "y = x")])


def test_signatures_are_filled_by_name() -> None:
    """Required parameters come from cells or the notebook; a default gives way to a cell, not to the notebook."""
    parts = [
        part("load(n=10) -> X, y", "X = y = n"),
        part("pick() -> C", "C = 2"),
        part("fit(X, y, C=1.0, *, gamma=1, verbose) -> model", "model = 1"),
    ]

    source = wired(parts, {"n": 3, "gamma": 4, "verbose": True})

    assert body(source) == [
        "X, y = load()",
        "C = pick()",
        "model = fit(X, y, C, verbose=notebook(verbose))",
        "return {'model': model}",
    ]


def test_a_skipped_default_makes_the_rest_keywords() -> None:
    """Positions stay right when a parameter in the middle keeps its default."""
    parts = [part("pick() -> c", "c = 1"), part("f(a=1, b=2, c=3) -> r", "r = a, b, c")]

    assert "r = f(c=c)" in body(wired(parts))


def test_imports_of_a_cell_are_repeated_where_they_are_used() -> None:
    """A module is not sent through the graph: the cell that uses it imports it."""
    parts = [part("setup", "import numpy as np\nimport os.path\nn = 3"), part("make", "x = np.ones(n), os.path")]

    wiring = wire("flow", parts, lambda _: "none")

    assert body(wiring.source)[:2] == ["n = setup()", "x = make(n)"]
    assert wiring.electrons[1][1].prelude == ("import numpy as np", "import os.path")


def test_functions_of_a_cell_are_values_for_the_next() -> None:
    """A `def` in an electron cell is an output only when another cell uses it."""
    parts = [part("define", "def f(x): return x\nz = 1"), part("use", "y = f(2)")]

    assert body(wired(parts)) == ["z, f = define()", "y = use(f)", "return {'z': z, 'y': y}"]


def test_loop_variables_travel_only_when_asked_for() -> None:
    """Loop and `with` targets are no outputs by themselves."""
    alone = wired([part("a", "t = 0\nfor i in range(3): t += i")])
    used = wired([part("a", "t = 0\nfor i in range(3): t += i"), part("b", "u = i")])

    assert body(alone)[0] == "t = a()"
    assert body(used)[:2] == ["t, i = a()", "u = b(i)"]


def test_wanted_outputs_use_only_the_cells_they_need() -> None:
    """`--output` names what the lattice returns, in that order."""
    parts = [part("a", "x = 1\nunused = 2"), part("b", "y = x"), part("other", "z = nowhere"), part("c", "w = y")]

    assert body(wired(parts, wanted=["w", "x"])) == ["x = a()", "y = b(x)", "w = c(y)", "return w, x"]
    assert body(wired(parts, wanted=["y"])) == ["x = a()", "y = b(x)", "return y"]


def test_a_wanted_output_that_nobody_makes_is_refused() -> None:
    """The message lists what there is."""
    with pytest.raises(CellRefused, match="no electron cell makes the output 'q'; they make 'x'"):
        wired([part("a", "x = 1")], wanted=["q"])


def test_a_cell_without_names_gives_its_value_under_its_own_name() -> None:
    """Its last line counts, and it can be asked for."""
    parts = [part("a", "x = 1"), part("show", "x + 1")]

    assert body(wired(parts)) == ["x = a()", "show_value = show(x)", "return {'show': show_value}"]
    assert body(wired(parts, wanted=["show"]))[-1] == "return show_value"


def test_an_output_called_like_an_electron_gets_another_variable() -> None:
    """The call after it must still find the electron."""
    assert body(wired([part("model", "model = 1"), part("use", "y = model")])) == [
        "model_of_model = model()",
        "y = use(model_of_model)",
        "return {'y': y}",
    ]


def test_what_only_a_branch_sets_keeps_the_value_it_had() -> None:
    """The cell also takes the name, so that the other branch is what it is in a notebook."""
    parts = [part("a", "x = 1"), part("b", "if c: x = 2"), part("d", "y = x")]

    assert body(wired(parts, {"c": True}))[:2] == ["x = a()", "x = b(notebook(c), x)"]


@pytest.mark.parametrize(("name", "says"), [("a", "already the name of an electron"), ("flow", "needs 'q'")])
def test_a_lattice_that_cannot_be_is_refused(name: str, says: str) -> None:
    """Neither the name of an electron nor a missing value."""
    with pytest.raises(CellRefused, match=says):
        wired([part("a", "x = q")], line=name)


def test_without_electron_cells_there_is_nothing_to_wire() -> None:
    """The message says how to make one."""
    with pytest.raises(CellRefused, match="put %%electron on the first line"):
        wired([])
