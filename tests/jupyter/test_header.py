"""The first line of an electron or a lattice: signature, outputs, options, comment."""

from __future__ import annotations

import ast

import pytest

from covalab.jupyter.cells.header import read_header, without_comment
from covalab.jupyter.cells.ipython_lines import CellRefused


@pytest.mark.parametrize(
    ("line", "name", "arguments", "outputs", "options"),
    [
        ("", None, None, None, ""),
        ("# only a comment", None, None, None, ""),
        ("load", "load", None, None, ""),
        ("load()", "load", "", None, ""),
        ("load(n=1000) -> X, y         # comment", "load", "n=1000", ("X", "y"), ""),
        ("load(n=1000)->X,y", "load", "n=1000", ("X", "y"), ""),
        ("load -> (X, y,)", "load", None, ("X", "y"), ""),
        ("-> X", None, None, ("X",), ""),
        ("--run", None, None, None, "--run"),
        ("--run --name a", None, None, None, "--run --name a"),
        (
            "f(a, /, b: int = 1, *c, d='--no', **e) --retries 2",
            "f",
            "a, /, b: int=1, *c, d='--no', **e",
            None,
            "--retries 2",
        ),
        ("f(a='#', b=\"->\") -> x --run # c", "f", "a='#', b='->'", ("x",), "--run"),
        ("f(a=-1, b=lambda x: x - 1)", "f", "a=-1, b=lambda x: x - 1", None, ""),
        ("f(x: dict[str, int]={'a': (1, 2)}) -n 3", "f", "x: dict[str, int]={'a': (1, 2)}", None, "-n 3"),
    ],
)
def test_a_line_is_read(
    line: str, name: str | None, arguments: str | None, outputs: tuple[str, ...] | None, options: str
) -> None:
    """Every part may be missing, and none is mistaken for another inside strings and brackets."""
    header = read_header(line)

    assert header.name == name
    assert (None if header.arguments is None else ast.unparse(header.arguments)) == arguments
    assert header.outputs == outputs
    assert header.options == options


@pytest.mark.parametrize(
    "line",
    [
        "load(",
        "load)",
        "load(1)",
        "load(a, a)",
        "2load(a)",
        "load(a) -> X y",
        "load(a) ->",
        "class(a)",
        "f(a): g(b",
        "f(a) -> a, a",
    ],
)
def test_a_line_that_is_no_signature_is_refused_with_the_form(line: str) -> None:
    """The message shows what was written."""
    with pytest.raises(CellRefused, match=r"signature|outputs|twice"):
        read_header(line)


def test_a_comment_goes_a_string_stays() -> None:
    """A `#` inside a string is not a comment."""
    assert without_comment("f('#1')  # and more") == "f('#1')"
    assert without_comment("  f(1) ") == "f(1)"
