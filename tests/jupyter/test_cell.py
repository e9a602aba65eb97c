"""Hundreds of cells in the style of real notebooks: read right, and the same as a function as in the notebook."""

from __future__ import annotations

import ast
import asyncio
import functools
import inspect
import re
import warnings
from typing import Any

import cloudpickle
import matplotlib.pyplot as plt
import pytest
from tests.jupyter.corpus import Example, copied, describes, examples, same, setup_of

from covalab.core.missing_values import Missing
from covalab.jupyter.cells.cell import CellRefused, kind_of, names_of, read_cell
from covalab.jupyter.cells.header import read_header
from covalab.jupyter.notebook.electron_cell import Options
from covalab.jupyter.notebook.session import Session

ALL = examples()
REFUSED = [example for example in ALL if "refused" in example.facts or "syntax" in example.facts]
ACCEPTED = [example for example in ALL if example not in REFUSED]
RUNNING = [example for example in ACCEPTED if "skip" not in example.facts]


def by_id(chosen: list[Example]) -> pytest.MarkDecorator:
    """Return the decorator that runs a test once per example."""
    return pytest.mark.parametrize("example", chosen, ids=lambda example: example.id)


@functools.cache
def made_by_setup(file: str) -> dict[str, Any]:
    """Return the names of a file's notebook."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(setup_of(file), namespace)
    return namespace


def text_of(example: Example) -> str:
    """Return the cell as a notebook shows it."""
    return f"%%electron\n{example.code}"


def test_the_corpus_is_as_large_as_promised() -> None:
    """There are at least two hundred cells that are accepted, and their names tell them apart."""
    assert len(ACCEPTED) >= 200
    assert len({example.id for example in ALL}) == len(ALL)


@by_id(ACCEPTED)
def test_a_cell_is_read_right(example: Example) -> None:
    """Inputs, outputs, changes, possible changes and optional inputs are those that a reader finds."""
    namespace = made_by_setup(example.file)

    names = names_of(read_cell(text_of(example)), describes(namespace, kind_of))

    assert sorted(names.inputs) == sorted(example.names("in"))
    assert sorted(names.outputs) == sorted(example.names("out"))
    assert sorted(names.changed) == sorted(example.names("changes"))
    assert sorted({one.name for one in names.possible}) == sorted(example.names("possible"))
    assert sorted(names.optional) == sorted(example.names("optional"))
    assert names.unknown == ()


@by_id(REFUSED)
def test_a_cell_that_cannot_be_a_function_is_refused(example: Example) -> None:
    """The message names what is wrong; what is no Python at all is a SyntaxError at the line of the cell."""
    if "syntax" in example.facts:
        with pytest.raises(SyntaxError, match=example.facts["syntax"]) as syntax:
            read_cell(text_of(example))
        assert syntax.value.lineno is not None
        assert syntax.value.lineno >= 2
    else:
        with pytest.raises(CellRefused, match=example.facts["refused"]):
            read_cell(text_of(example))


@by_id(RUNNING)
def test_a_cell_gives_the_same_as_an_electron(example: Example) -> None:
    """Pickled, sent away and called with its inputs, the cell makes the values that it makes in the notebook."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain, shown = run_plainly(example, copied(made_by_setup(example.file)))
        outputs, values = run_as_electron(example, copied(made_by_setup(example.file)))
        plt.close("all")

    if not outputs:
        assert same(shown, values[0]) or type(shown) is type(values[0])
    for name, value in zip(outputs, values, strict=bool(outputs)):
        if isinstance(value, Missing):
            assert name not in plain
        elif "figure" in example.facts:
            assert type(value) is type(plain[name])
        else:
            assert same(plain[name], value), f"{name}: {plain[name]!r} in the notebook, {value!r} as an electron"


def run_plainly(example: Example, namespace: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """Run a cell as a notebook does; return the names afterwards and the value of its last line."""
    from IPython.core.inputtransformer2 import TransformerManager

    class Notebook:
        """Stand-in for the shell that the transformed magics call."""

        def run_line_magic(self, name: str, rest: str) -> Any:
            return execute(rest, namespace) if name == "time" else None

        def run_cell_magic(self, _name: str, _rest: str, cell: str) -> Any:
            return execute(cell, namespace)

        def system(self, _command: str) -> None:
            return None

        def getoutput(self, _command: str) -> list[str]:
            return ["a", "b"]

    namespace["get_ipython"] = Notebook
    code = example.code
    try:
        ast.parse(code)
    except SyntaxError:
        code = TransformerManager().transform_cell(code)
    return namespace, execute(code, namespace)


def execute(code: str, namespace: dict[str, Any]) -> Any:
    """Run code at the top level of a namespace and return the value of its last line."""
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    tree = compile(code, "<cell>", "exec", flags | ast.PyCF_ONLY_AST, dont_inherit=True)
    assert isinstance(tree, ast.Module)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    value = eval(compile(tree, "<cell>", "exec", flags, dont_inherit=True), namespace)
    if inspect.iscoroutine(value):
        asyncio.run(value)
    if not isinstance(last, ast.Expr):
        return None
    value = eval(compile(ast.Expression(last.value), "<cell>", "eval", flags, dont_inherit=True), namespace)
    return asyncio.run(value) if inspect.iscoroutine(value) else value


def run_as_electron(example: Example, namespace: dict[str, Any]) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    """Make the cell an electron, send its function through a pickle and call it; return names and values."""
    made = Session(namespace).define(read_header(""), text_of(example), 2, Options())
    function = cloudpickle.loads(cloudpickle.dumps(namespace[made.part.name].electron_object.function))
    arguments = {name: namespace[name] for name in inspect.signature(function).parameters}
    value = function(**arguments)
    if inspect.iscoroutine(value):
        value = asyncio.run(value)
    assert re.match(r"\w+\(", made.signature)
    return made.outputs, value if len(made.outputs) > 1 else (value,)
