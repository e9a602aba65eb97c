"""Outputs of the nodes of a dispatch in the output of a `Result`."""

from __future__ import annotations

import json
from typing import Any

from tests.view.graphs import mapped, summary
from tests.view.test_bundle import Seen

from covalab.view.bundle import MIME_TYPE, dispatch_bundle
from covalab.view.node_outputs import MOST_CHARACTERS, MOST_NODES, chosen, node_displays

FIGURE = {
    "output_type": "display_data",
    "data": {"image/png": "iVBORw0KGgo=", "text/plain": "<Figure size 640x480>"},
    "metadata": {},
}
TABLE = {
    "output_type": "execute_result",
    "data": {"text/html": "<table><tr><td>0.93</td></tr></table>", "text/plain": "score 0.93"},
    "metadata": {},
    "execution_count": 1,
}
ERROR = {"output_type": "error", "ename": "ValueError", "evalue": "no depth", "traceback": ["ValueError: no depth"]}


def printed(text: str) -> dict[str, Any]:
    """Return a text that was printed."""
    return {"output_type": "stream", "name": "stdout", "text": text}


def bundle_of(outputs: dict[int, list[dict[str, Any]]], n_more: int = 0, **options: Any) -> dict[str, Any]:
    """Return the output of a dispatch whose nodes have outputs."""
    its, graph = summary(status="completed"), mapped(20)
    displays = node_displays(its.id, graph, outputs, n_more)
    return dispatch_bundle(its, graph, [], displays=displays, **options)


def test_the_outputs_of_one_node_have_no_heading() -> None:
    """A figure is a figure, a table a table; the text is below the line about the dispatch."""
    bundle = bundle_of({0: [FIGURE, TABLE]})
    seen = Seen(bundle["text/html"])

    sources = [attrs["src"] or "" for tag, attrs in seen.tags if tag == "img"]
    assert [source.partition(";")[0] for source in sources] == ["data:image/svg+xml", "data:image/png"]
    assert "<td>0.93</td>" in bundle["text/html"]
    assert "details" not in {tag for tag, _ in seen.tags}
    assert bundle["text/plain"].splitlines()[1:] == ["<Figure size 640x480>", "score 0.93"]
    assert bundle[MIME_TYPE]["outputs"]["nodes"] == [
        {"node": 0, "name": "load", "outputs": [FIGURE, TABLE], "is_open": True}
    ]
    json.dumps(bundle)


def test_outputs_of_more_nodes_are_under_their_names() -> None:
    """Few are unfolded; of many only errors and the last."""
    few = Seen(bundle_of({0: [printed("a")], 1: [TABLE]})["text/html"])
    assert [attrs for tag, attrs in few.tags if tag == "details"] == [{"open": None}, {"open": None}]
    assert "load" in few.text
    assert "best" in few.text

    many = bundle_of({node: [ERROR if node == 5 else printed("a")] for node in range(3, 10)})
    shown = many[MIME_TYPE]["outputs"]["nodes"]
    assert [one["node"] for one in shown if one["is_open"]] == [5, 9]
    names = [line for line in many["text/plain"].splitlines() if line.startswith("[train")]
    assert names == [f"[train(c={at})]" for at in range(4)], "every other node is a parameter; siblings are told apart"


def test_names_are_escaped_and_outputs_left_out_are_counted() -> None:
    """A name comes from a user; what is not shown is said with the way to it."""
    its, graph = summary(status="failed"), mapped(3, "<img src=x onerror=alert(1)>")
    displays = node_displays(its.id, graph, {3: [printed("a")], 5: [printed("b")]}, 9_950)
    bundle = dispatch_bundle(its, graph, [], displays=displays)

    assert "<img src=x" not in bundle["text/html"]
    for kind in ("text/html", "text/plain"):
        assert "and 9,950 more nodes: ct.get_result(" in bundle[kind].replace("&quot;", '"')
    assert bundle[MIME_TYPE]["outputs"]["more"].startswith("and 9,950 more nodes")


def test_the_output_is_bounded() -> None:
    """A dispatch with large outputs makes no large notebook: texts are shortened, others become a note."""
    large = {**FIGURE, "data": {"image/png": "A" * 4_000_000}}
    bundle = bundle_of({0: [large, printed("x" * 4_000_000)], 1: [large]})

    assert len(json.dumps(bundle)) < 2 * MOST_CHARACTERS + 100_000
    assert "is not kept in the notebook: ct.get_result(" in bundle["text/plain"]
    assert len(bundle["text/plain"]) < 30_000


def test_failed_nodes_are_among_those_that_are_shown() -> None:
    """Of very many nodes the first are shown, and all that failed."""
    shown = chosen(range(10_000), {9_000, 4_000})

    assert len(shown) == MOST_NODES
    assert shown[-2:] == [4_000, 9_000]
    assert shown[:3] == [0, 1, 2]


def test_without_outputs_nothing_is_added() -> None:
    """A dispatch that displayed nothing looks as it did."""
    assert bundle_of({0: []}) == dispatch_bundle(summary(status="completed"), mapped(20), [])
