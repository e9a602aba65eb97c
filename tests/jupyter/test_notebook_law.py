"""The law of cells that are functions (an executor of their own): wired, they compute what the notebook computed."""

from __future__ import annotations

import ast
import textwrap
import warnings
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from covalab.blobs import InMemory
from covalab.core.assemble import edges_into, positional, value_at
from covalab.core.codec import decode, encode
from covalab.core.missing_values import Missing
from covalab.core.model import EdgeKind, NodeKind
from covalab.jupyter.cells.header import read_header
from covalab.jupyter.notebook.electron_cell import Options
from covalab.jupyter.notebook.session import Session
from covalab.sdk.building.lattice import Lattice
from covalab.sdk.building.plan import Plan


def run_plainly(cells: Sequence[str], namespace: dict[str, Any]) -> dict[str, Any]:
    """Run cells one after another in one namespace, as a notebook does."""
    for cell in cells:
        exec(compile(cell, "<cell>", "exec", dont_inherit=True), namespace)
    return namespace


def run_as_graph(lattice: Lattice) -> Any:
    """Build the graph of a lattice and compute it, with every function and every value through its closed form."""
    blobs = InMemory()
    plan: Plan
    plan, _ = lattice.plan((), {}, blobs)
    nodes, into = plan.graph.nodes, edges_into(len(plan.graph.nodes), plan.graph.edges)
    done: dict[int, bytes] = {}

    def open_value(number: int) -> Any:
        node = nodes[number]
        if node.kind is NodeKind.PARAMETER:
            return blobs.deserialize(plan.values[node.value])
        if number not in done:
            function = decode(plan.code[plan.graph.functions[node.function].digest])
            args = [value_at(source, nodes, into, open_value) for source in positional(into[number])]
            kwargs = {
                edge.name: value_at(edge.source, nodes, into, open_value)
                for edge in into[number]
                if edge.kind is EdgeKind.KWARG
            }
            done[number] = encode(function(*args, **kwargs)).join()
        return decode(done[number])

    for number, node in enumerate(nodes):
        if node.kind is NodeKind.ELECTRON:
            open_value(number)
    return value_at(plan.graph.output, nodes, into, open_value)


def as_electrons(cells: Sequence[str], namespace: dict[str, Any]) -> Session:
    """Put `%%electron` on every cell and run it."""
    session = Session(namespace)
    for number, cell in enumerate(cells):
        session.define(
            read_header(f"cell_{number}"), f"%%electron\n{cell}", 2, Options(executor="dask"), key=str(number)
        )
    return session


NOTEBOOK = [
    """
    import numpy as np
    from collections import Counter
    from dataclasses import dataclass
    """,
    """
    THRESHOLD = 2
    words = "a b a c b a d".split()
    """,
    """
    @dataclass
    class Entry:
        word: str
        count: int

    def common(counter, least):
        return [Entry(word, count) for word, count in counter.most_common() if count >= least]
    """,
    """
    counts = Counter(words)
    entries = common(counts, THRESHOLD)
    """,
    """
    for entry in entries:
        entry.count *= 10
    table = {entry.word: entry.count for entry in entries}
    """,
    """
    table["extra"] = int(np.sum(list(table.values())))
    def describe(name):
        return f"{name}: {table[name]} of {len(words)}"
    """,
    """
    lines = [describe(name) for name in sorted(table)]
    try:
        missing = table["nothing"]
    except KeyError as error:
        missing = str(error)
    """,
    """
    if len(lines) > 100:
        THRESHOLD = 0
    limit = THRESHOLD
    del words
    """,
]


def test_a_notebook_with_one_line_per_cell_computes_the_same() -> None:
    """Imports, functions, classes, constants and changes in place go from cell to cell without another edit."""
    cells = [textwrap.dedent(cell) for cell in NOTEBOOK]
    plain = run_plainly(cells, {"__name__": "__main__"})
    names = ["lines", "missing", "limit", "table", "THRESHOLD"]

    session = as_electrons(cells, {"__name__": "__main__"})
    lattice, _ = session.wire("everything", wanted=names)

    assert run_as_graph(lattice) == [plain[name] for name in names]
    assert {"missing", "limit"} <= run_as_graph(session.wire("unused")[0]).keys()


def test_half_of_the_cells_may_stay_ordinary() -> None:
    """Names that ordinary cells made are taken from the notebook: code is sent along, data is a parameter."""
    cells = [textwrap.dedent(cell) for cell in NOTEBOOK]
    plain = run_plainly(cells, {"__name__": "__main__"})
    notebook = run_plainly(cells[:3], {"__name__": "__main__"})

    lattice, source = as_electrons(cells[3:], notebook).wire("rest", wanted=["lines", "limit"])

    assert run_as_graph(lattice) == [plain["lines"], plain["limit"]]
    assert "notebook(words), notebook(THRESHOLD)" in source


NAMES = ("a", "b", "c", "d")
name = st.sampled_from(NAMES)
statement = st.one_of(
    st.builds("{0} = [{1}, *{2}]".format, name, st.integers(0, 9), name),
    st.builds("{0} = [{1}]".format, name, st.integers(0, 9)),
    st.builds("{0} = list({1})".format, name, name),
    st.builds("{0}[0] = len({1})".format, name, name),
    st.builds("{0} += [{1}]".format, name, st.integers(0, 9)),
    st.builds("{0} = [x + 1 for x in {1}]".format, name, name),
    st.builds("if len({0}) > {1}: {2} = {0} + [1]".format, name, st.integers(0, 3), name),
    st.builds("for x in list({0}): {1} = [x, *{2}][:5]".format, name, name, name),
    st.builds("def f(): return len({0}) + {0}[0]\n{1} = [f()]".format, name, name),
    st.builds("try:\n    {0} = [{1}[3]]\nexcept IndexError:\n    {0} = [0]".format, name, name),
    st.builds("{0}, {1} = list({1}), list({0})".format, name, name),
    st.builds("while len({0}) < 3:\n    {0} = {0} + [len({1})]\n    if {0}[-1] > 5: break".format, name, name),
    st.builds("if not {0}: del {1}".format, name, name),
    st.builds("def g():\n    global {0}\n    {0} = [{1}]\ng()".format, name, st.integers(0, 9)),
    st.builds("def h(): {0}[0] = {1}\nh()".format, name, st.integers(0, 9)),
    st.builds("for row in [{0}]: row[0] = {1}".format, name, st.integers(0, 9)),
    st.builds("if (size := len({0})) > 1: {1} = [size]".format, name, name),
    st.builds("match {0}:\n    case [first, *rest]: {1} = rest\n    case _: pass".format, name, name),
    st.builds("from contextlib import suppress\nwith suppress(IndexError): {0} = [{1}[2]]".format, name, name),
    st.builds(
        "class K:\n    size = len({0})\n    def get(self): return {1}[0]\n{0} = [K.size, K().get()]".format, name, name
    ),
    st.builds("{0} = (lambda v: [v] + {1})(1)".format, name, name),
)
notebooks = st.lists(st.lists(statement, min_size=1, max_size=4).map("\n".join), min_size=1, max_size=5)


@pytest.mark.filterwarnings("ignore::covalab.jupyter.notebook.refusals.InPlaceWarning")
@settings(max_examples=100, deadline=None)
@given(cells=notebooks)
def test_any_notebook_computes_the_same(cells: list[str]) -> None:
    """Random cells that set, change and read names give the same when they are wired as when they are run in order."""
    cells = ["a, b, c, d = [1], [2, 3], [], [0]", *cells]
    plain: dict[str, Any] = {"__name__": "__main__"}
    try:
        run_plainly(cells, plain)
    except (NameError, IndexError, ValueError):
        assume(False)
    set_somewhere = {
        node.id
        for cell in cells
        for node in ast.walk(ast.parse(cell))
        if isinstance(node, ast.Name) and node.id in NAMES
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        session = as_electrons(cells, {"__name__": "__main__"})
    made = {one for electron in session.electrons for one in electron.outputs}
    wanted = sorted(made & set_somewhere & plain.keys())
    assume(wanted)

    lattice, source = session.wire("flow", wanted=wanted)

    values = run_as_graph(lattice)
    values = values if len(wanted) > 1 else [values]
    for one, value in zip(wanted, values, strict=True):
        assert not isinstance(value, Missing), (one, source)
        assert value == plain[one], (one, source)
