"""DOT source, and pictures by Graphviz's program where there is one."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from tests.view.graphs import mapped
from tests.view.test_picture import HOSTILE, assert_harmless

import covalab as ct
from covalab.core.errors import GraphError
from covalab.core.model import Edge, EdgeKind, Graph, Node, NodeKind, NodeState, Settings
from covalab.view import dot
from covalab.view.dot import dot_pdf, dot_source, dot_svg
from covalab.view.pdf import graph_pdf
from covalab.view.picture import graph_svg

STATES = [NodeState(0, "completed", 100.0, 102.5, 1), NodeState(1, "failed", 1.0, 2.0, 1)]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a folder on the PATH, and nothing else, in which a test may write a program `dot`."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path / "dot"


def write(program: Path, what: str) -> None:
    """Write a program that notes its arguments and its input, then does what a test wants."""
    beside = str(program.parent)
    program.write_text(
        f"#!{sys.executable}\nimport pathlib, sys\nnoted = pathlib.Path({beside!r})\n"
        "(noted / 'arguments').write_text(' '.join(sys.argv[1:]))\n"
        f"(noted / 'source').write_bytes(sys.stdin.buffer.read())\n{what}\n"
    )
    program.chmod(0o755)


def single(name: str) -> Graph:
    """Return a graph of one node."""
    return Graph(name, [Node(name, NodeKind.ELECTRON, 0)], [], [], [Settings()], 0)


def test_the_source_has_the_boxes_of_the_picture() -> None:
    """Names, states in words and in colour, a group as one box, edges; also where `dot` is not installed."""
    lines = dot_source(mapped(20), STATES).splitlines()

    assert lines[0] == "digraph transport_graph {"
    assert "label=experiment" in lines[1]
    assert [line.strip() for line in lines if re.match(r"\s\d", line)] == [
        '0 [label="load\\n2.5 s" color="#388e3c" style=rounded]',
        '1 [label="best\\nFailed · 1.0 s" color="#d32f2f" style=rounded]',
        '2 [label="train \N{MULTIPLICATION SIGN}20\\nPending" color="#9e9e9e" peripheries=2 style=rounded]',
        "0 -> 2",
        "2 -> 1",
    ]


def test_a_picture_is_drawn_by_the_program_where_it_is(program: Path) -> None:
    """From the source, with DOT's own layout; a document's head is left out, so that a page can hold it."""
    write(program, "print('<?xml version=\"1.0\"?><!DOCTYPE svg><svg>drawn \N{MULTIPLICATION SIGN}</svg>')")

    assert dot_svg(mapped(3), STATES).strip() == "<svg>drawn \N{MULTIPLICATION SIGN}</svg>"
    assert (program.parent / "arguments").read_text() == "-Kdot -Tsvg"
    assert (program.parent / "source").read_text() == dot_source(mapped(3), STATES)
    write(program, "sys.stdout.buffer.write(b'%PDF-\\xff')")
    assert dot_pdf(mapped(3), STATES) == b"%PDF-\xff"
    assert (program.parent / "arguments").read_text() == "-Kdot -Tpdf"


@pytest.mark.parametrize("what", ["sys.exit(3)", "print('no picture')", "sys.exit('no fonts')", None])
def test_where_it_is_not_or_fails_our_own_layout_draws(
    program: Path, what: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SVG is there in any case, a PDF where there is matplotlib; else an error says what to install."""
    if what is not None:
        write(program, what)

    assert dot_svg(mapped(3), STATES) == graph_svg(mapped(3), STATES)
    if what != "print('no picture')":
        assert dot_pdf(mapped(3), STATES).startswith(b"%PDF-")
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
        with pytest.raises(GraphError, match=r"experiment.* `dot` or by matplotlib, .*install one .*or take 'svg'"):
            dot_pdf(mapped(3), STATES)


def test_what_is_too_large_for_the_program_is_drawn_by_us(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its time grows faster than the graph; the limit counts boxes, not the nodes of a group."""
    write(program, "print('<svg>drawn</svg>')")
    monkeypatch.setattr(dot, "_MOST_BOXES", 3)

    assert dot_svg(mapped(200), []).strip() == "<svg>drawn</svg>"
    assert dot_svg(mapped(4), []) == graph_svg(mapped(4), [])


@pytest.mark.parametrize("name", [*HOSTILE, "\\N\\G\\l", "<b>bold</b>", '"', "a\\", "}; b [label=x]", "x" * 10_000])
def test_hostile_names_are_labels(name: str, program: Path) -> None:
    """Whatever a function is called, it is one quoted text; nothing else begins in it."""
    source = dot_source(single(name), [])
    quoted = r'"(?:[^"\\]|\\.)*"'

    plain = re.sub(quoted, "TEXT", source)
    assert re.fullmatch(
        r"digraph transport_graph \{\n\tgraph \[fontname=Helvetica label=(TEXT|\w+) labelloc=t rankdir=LR\]\n"
        r"\tnode \[fontname=Helvetica shape=box style=rounded\]\n\tedge \[color=TEXT\]\n"
        r"\t0 \[label=TEXT color=TEXT style=rounded\]\n\}\n",
        plain,
    )
    source.encode()
    assert len(source) < 1_000
    assert re.search(r"&(?!amp;)", source) is None
    assert_harmless(dot_svg(single(name), []))
    assert graph_pdf(single(name), []).startswith(b"%PDF-")


def test_a_pdf_of_our_own_has_the_texts_of_the_picture() -> None:
    """One page that is as large as the picture; a large graph fits on it; the user's settings do not matter."""
    import matplotlib as mpl

    with mpl.rc_context({"text.usetex": True, "pdf.compression": 0, "pdf.fonttype": 42}):
        page = graph_pdf(mapped(20), STATES)
    assert page.count(b"/Type /Page\n") + page.count(b"/Type /Page ") == 1
    nodes = [Node(f"n{n}", NodeKind.ELECTRON, n) for n in range(400)]
    edges = [Edge(n - 1, n, "x", EdgeKind.ARG, 0) for n in range(1, 400)]
    box = re.search(rb"/MediaBox \[ ?0 0 ([\d.]+) ([\d.]+)", graph_pdf(Graph("long", nodes, edges, [], [], 399), []))
    assert box is not None
    assert 10_000 < max(map(float, box.groups())) <= 14_400


@ct.electron
def add(x: int, y: int) -> int:
    """Add."""
    return x + y


@ct.lattice
def workflow(x: int) -> object:
    """Add twice."""
    return add(add(x, 1), 2)


@ct.lattice
def simulation(engine: str) -> object:
    """Have a parameter of that name."""
    return add(len(engine), 1)


def test_a_lattice_is_drawn_by_either(program: Path) -> None:
    """`engine="dot"`; a workflow that has such a parameter gets it."""
    write(program, "print('<svg>drawn</svg>')")

    drawing = workflow.draw(1, engine="dot")
    assert str(drawing) == drawing._repr_svg_() == "<svg>drawn</svg>\n"
    assert drawing.source == workflow.draw(1).source == dot_source(drawing.graph, [])
    assert "drawn" not in str(workflow.draw(1))
    assert "drawn" not in str(simulation.draw(engine="dot"))
    assert "'dot'" in str(simulation.inputs)
    anything = ct.lattice(lambda **given: add(len(given), 1)).draw(x=1, engine="dot")
    assert (anything.engine, "drawn" in str(anything)) == (None, False)
    with pytest.raises(GraphError, match="engine is 'dot', or None for our own layout, not 'neato'"):
        workflow.draw(1, engine="neato")
