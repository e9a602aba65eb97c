"""Hostile texts in every static renderer: what is saved and exported runs nothing, and still has the text."""

from __future__ import annotations

import html
from typing import Any

import msgspec
import pytest
from tests.hostile import OTHER_KINDS, PAYLOADS, programs_in
from tests.view.graphs import mapped, summary
from tests.view.test_bundle import STATES, Seen
from tests.view.test_cell_view import cell, failed, stream
from tests.view.test_picture import assert_harmless

from covalab.core.comparison import Side, SideNode, compare
from covalab.core.model import Edge, EdgeKind, Graph, Node, NodeKind, NodeState, Settings
from covalab.core.previews import Preview, PreviewQuery
from covalab.sdk.results.comparing import Comparison
from covalab.view.bundle import dispatch_bundle
from covalab.view.cell_view import cell_bundle
from covalab.view.node_outputs import node_displays
from covalab.view.picture import graph_svg
from covalab.worker.previews.describe import describe


def test_the_payloads_are_programs() -> None:
    """The check would see them: as they are, each of them has something that runs, or text of a script."""
    seen = [payload for payload in PAYLOADS if programs_in(payload)]
    assert len(PAYLOADS) >= 200
    assert len(seen) >= 150
    assert len(OTHER_KINDS) >= 100
    assert len([text for text in OTHER_KINDS if programs_in(text)]) >= 50


def renderings(text: str) -> dict[str, str]:
    """Return the HTML of each static renderer, with a text wherever one comes from outside."""
    nodes = [Node(text, NodeKind.ELECTRON, 0), Node(f":parameter:{text}", NodeKind.PARAMETER)]
    graph = Graph(text, nodes, [Edge(1, 0, text, EdgeKind.ARG, 0)], [], [Settings()], 0)
    known = msgspec.structs.replace(summary(text, status="failed", error=text), notebook=text, ended_at=200.0)
    error = {"output_type": "error", "ename": text, "evalue": text, "traceback": [text]}
    plain = {"output_type": "execute_result", "data": {"text/plain": text}, "metadata": {}, "execution_count": None}
    outputs: list[dict[str, Any]] = [stream(text), stream(text, "stderr"), error, plain, failed(text)]
    displays = node_displays(text, graph, {0: outputs, 1: outputs}, n_more=3)
    one = Side(
        text, text, "failed", 1.0, {text: text}, {text: text}, {text: text}, [SideNode(text, "failed", 1.0, "a", text)]
    )
    other = Side("b", "b", "failed", nodes=[SideNode("b", "failed", text=text)])
    its_cell = msgspec.structs.replace(cell(*outputs), name=text, message=text)
    return {
        "bundle": dispatch_bundle(known, graph, [NodeState(0, "failed", 1.0, 2.0, 1)], widget=False)["text/html"],
        "outputs": dispatch_bundle(known, mapped(2), STATES, widget=False, displays=displays)["text/html"],
        "cell": cell_bundle(its_cell)["text/html"],
        "comparison": Comparison(compare(one, other))._repr_html_(),
        "picture": graph_svg(graph, []),
    }


def elements(document: str) -> set[tuple[str, tuple[str, ...]]]:
    """Return the elements of a piece of HTML: their tags, and the names of their attributes."""
    return {(tag, tuple(sorted(attributes))) for tag, attributes in Seen(document).tags}


def harmless_elements() -> dict[str, set[tuple[str, tuple[str, ...]]]]:
    """Return the elements that each renderer makes of texts of every length."""
    texts = [renderings(text) for text in ("x", "x" * 200, "`x`", "\x1b[31mred\x1b[0m", "two\nlines", "long " * 2000)]
    return {name: set().union(*(elements(one[name]) for one in texts)) for name in texts[0]}


def test_another_kind_of_text_adds_no_element() -> None:
    """Styles, other namespaces, what a parser mends, addresses, names of JavaScript: all of them stay text."""
    allowed = harmless_elements()
    for payload in OTHER_KINDS:
        found = renderings(payload)
        assert_harmless(found["picture"])
        assert {
            name: elements(text) - allowed[name] for name, text in found.items() if elements(text) - allowed[name]
        } == {}
        kept = "__hit" if "__hit" in payload else payload
        for name in ("outputs", "comparison"):
            assert kept in html.unescape(Seen(found[name]).text), (name, payload)


@pytest.mark.parametrize("part", range(8))
def test_a_hostile_text_stays_text(part: int) -> None:
    """In names, paths, streams, errors, values and code; of the dispatch, of a cell, and of a comparison."""
    for payload in PAYLOADS[part::8]:
        found = renderings(payload)
        assert_harmless(found.pop("picture"))
        assert {name: programs_in(text) for name, text in found.items() if programs_in(text)} == {}, payload
        # It is not lost either.
        for name in ("outputs", "comparison"):
            assert "__hit" in html.unescape(Seen(found[name]).text), (name, payload)


def test_a_hostile_value_is_sent_as_text() -> None:
    """A preview has HTML only where the value's own class makes it."""
    for payload in [*PAYLOADS, *OTHER_KINDS]:
        values = (payload, [payload], {payload: payload}, ValueError(payload))
        for found in (describe(value, PreviewQuery()) for value in values):
            assert isinstance(found, Preview)
            assert found.data == {}
