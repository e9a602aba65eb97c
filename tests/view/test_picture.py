"""The static picture."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.view.graphs import graphs, mapped

from covalab.core.model import Edge, EdgeKind, Graph, Node, NodeKind, NodeState, Settings, Status
from covalab.view.picture import graph_svg

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = [
    "<script>alert(1)</script>",
    '"/><script>alert(1)</script><text x="',
    "' onload='alert(1)",
    "]]><script>",
    "<!--",
    "&lt;b&gt; &amp; &#0;",
    "a\x00b\x0bc\ud800d",
    "\N{RIGHT-TO-LEFT OVERRIDE}txt",
]


def texts(svg: str) -> list[str]:
    """Return the texts that a picture shows."""
    return [element.text or "" for element in ET.fromstring(svg).iter(f"{SVG}text")]


def assert_harmless(svg: str) -> None:
    """Assert that a picture is well-formed, draws, and does nothing else."""
    for element in ET.fromstring(svg).iter():
        assert element.tag.removeprefix(SVG) in {"svg", "title", "g", "rect", "path", "circle", "text"}
        for name, value in element.attrib.items():
            assert not name.startswith("on")
            assert "href" not in name
            assert "url" not in value


def test_names_and_times_are_shown() -> None:
    """A node shows its name and how long it took."""
    graph = mapped(2)
    svg = graph_svg(graph, [NodeState(0, "completed", 100.0, 102.5, 1)])

    assert {"load", "best", "train(c=0)", "train(c=1)"} <= set(texts(svg))
    assert "2.5 s" in texts(svg)
    assert "Pending" in texts(svg)


def test_a_node_that_waits_for_its_next_run_says_so() -> None:
    """It is not pending like one that waits for others."""
    graph = Graph("one", [Node("a_task_with_retries", NodeKind.ELECTRON, 0)], [], [], [Settings()], 0)
    assert "Waits to run again" in texts(graph_svg(graph, [NodeState(0, "pending", None, None, 1, 100.0)]))


def test_many_alike_are_one_card_with_their_number() -> None:
    """Folded tasks say how many they are."""
    assert "train \N{MULTIPLICATION SIGN}20" in texts(graph_svg(mapped(20), []))


@pytest.mark.parametrize("status", ["pending", "running", "completed", "failed", "cancelled", "skipped"])
def test_statuses_differ_by_more_than_colour(status: Status) -> None:
    """The mark of a status has a shape of its own."""
    graph = Graph("one", [Node("task", NodeKind.ELECTRON, 0)], [], [], [Settings()], 0)
    others: tuple[Status, ...] = ("pending", "running", "completed", "failed", "cancelled", "skipped")

    def mark(which: Status) -> list[tuple[str, str | None, str | None]]:
        group = ET.fromstring(graph_svg(graph, [NodeState(0, which)])).findall(f".//{SVG}g/{SVG}g")[-1]
        return [(part.tag, part.get("d"), part.get("stroke-dasharray")) for part in group]

    assert all(mark(status) != mark(other) for other in others if other != status)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_text(name: str) -> None:
    """Any name of a function is text in the picture."""
    nodes = [Node(name, NodeKind.ELECTRON, 0), Node(f":parameter:{name}", NodeKind.PARAMETER)]
    graph = Graph(name, nodes, [Edge(1, 0, name, EdgeKind.ARG, 0)], [], [Settings()], 0)

    assert_harmless(graph_svg(graph, [NodeState(0, "failed", 1.0, 2.0, 1)]))


@given(graphs(), st.text(max_size=80))
def test_every_graph_can_be_drawn(graph: Graph, name: str) -> None:
    """Any graph becomes a well-formed picture, with any name."""
    named = Graph(name, [Node(name, node.kind, node.function) for node in graph.nodes], graph.edges, [], [], -1)

    assert_harmless(graph_svg(named, []))
