"""The output of a dispatch."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import msgspec
import pytest
from tests.view.graphs import mapped, summary
from tests.view.test_picture import HOSTILE, assert_harmless

from covalab.core.model import Counts, DispatchSummary, Edge, EdgeKind, Graph, Node, NodeKind, NodeState, Settings
from covalab.view.bundle import GRAPH_LIMIT, MIME_TYPE, dispatch_bundle

STATES = [NodeState(0, "completed", 101.0, 102.0, 1)]


class Seen(HTMLParser):
    """Parser that collects tags and text of a piece of HTML."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Note a text."""
        self.text += data


def test_our_type_holds_what_the_browser_draws() -> None:
    """Id, summary, graph and states are plain JSON, of the shape that labextension/src/wire.ts describes."""
    ours = json.loads(json.dumps(dispatch_bundle(summary(), mapped(2), STATES, widget=False)[MIME_TYPE]))

    assert ours["id"] == summary().id
    # Of the notebook's path only the name: the file is sent to others.
    named = msgspec.structs.replace(summary(), notebook="digits.ipynb")
    assert msgspec.convert(ours["summary"], DispatchSummary) == named
    assert msgspec.convert(ours["states"], list[NodeState]) == STATES
    assert ours["graph"]["nodes"][0][0] == "load"
    assert ours["graph"]["output"] == 1


def test_a_large_graph_stays_out_of_the_notebook() -> None:
    """A notebook of large dispatches stays small; pages read the graph from the server."""
    bundle = dispatch_bundle(summary(), mapped(GRAPH_LIMIT), STATES, widget=False)

    assert bundle[MIME_TYPE]["graph"] is None
    assert len(json.dumps(bundle)) < 5000


def test_a_bundle_says_of_when_it_is() -> None:
    """Of a dispatch that had not ended, when it was like this; of one that had, when it ended; of neither, a path."""
    running = Seen(dispatch_bundle(summary(), mapped(2), STATES, widget=False, seen_at=0.0)["text/html"]).text
    ended = msgspec.structs.replace(summary(status="completed"), ended_at=86_400.0, notebook="/home/ada/secret/a.ipynb")
    found = dispatch_bundle(ended, mapped(2), STATES, widget=False)
    over = Seen(found["text/html"]).text

    assert "As of" in running
    assert "19" in running  # the year
    assert "As of" not in over
    assert "Ended1970-01-0" in over
    assert "a.ipynb" in over
    assert "secret" not in json.dumps(found)


def test_a_large_graph_that_has_ended_is_a_picture() -> None:
    """Its siblings are folded, so the picture is small; while it runs it is not drawn, since that takes a while."""
    ended = msgspec.structs.replace(summary(status="completed"), ended_at=200.0)
    assert "data:image/svg" in dispatch_bundle(ended, mapped(2_000), STATES, widget=False)["text/html"]
    assert "data:image/svg" not in dispatch_bundle(summary(), mapped(2_000), STATES, widget=False)["text/html"]


def test_the_html_survives_a_sanitiser() -> None:
    """No script, no style element, no class, no inline SVG: what JupyterLab and GitHub leave of it is all of it."""
    seen = Seen(dispatch_bundle(summary(), mapped(20), STATES, widget=False)["text/html"])

    assert {tag for tag, _ in seen.tags} <= {"div", "strong", "img", "table", "tr", "th", "td"}
    assert all(set(attrs) <= {"style", "src", "alt"} for _, attrs in seen.tags)
    assert "2 of 6 done, 1 running, 3 pending" in seen.text


def test_the_picture_in_the_html_is_the_graph() -> None:
    """The image is a data URI of an SVG that names the nodes."""
    seen = Seen(dispatch_bundle(summary(), mapped(2), STATES, widget=False)["text/html"])
    (source,) = [attrs["src"] or "" for tag, attrs in seen.tags if tag == "img"]
    kind, _, data = source.partition(",")

    assert kind == "data:image/svg+xml;base64"
    assert ET.fromstring(base64.b64decode(data)).tag.endswith("svg")
    assert b">load<" in base64.b64decode(data)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_texts_stay_text(name: str) -> None:
    """Names, errors and notebooks' paths come from users, and become text."""
    known = msgspec.structs.replace(summary(name, status="failed", error=name), notebook=name)
    seen = Seen(dispatch_bundle(known, mapped(2, name), STATES, widget=False)["text/html"])
    (source,) = [attrs["src"] or "" for tag, attrs in seen.tags if tag == "img"]

    assert {tag for tag, _ in seen.tags} <= {"div", "strong", "img", "table", "tr", "th", "td"}
    assert all(set(attrs) <= {"style", "src", "alt"} for _, attrs in seen.tags)
    assert_harmless(base64.b64decode(source.partition(",")[2]).decode())


def test_the_text_is_one_line() -> None:
    """A terminal shows what it is, how it stands, and its id."""
    text = dispatch_bundle(summary(status="completed"), None, [], widget=False)["text/plain"]

    assert text == f"experiment: completed, 2 of 6 done, 1 running, 3 pending, 2.5 s (dispatch {summary().id})"


def test_without_a_kernel_there_is_no_widget() -> None:
    """A script that asks for the bundle neither loads anywidget nor gets a widget that nobody feeds."""
    code = (
        "import sys; from covalab.view.bundle import dispatch_bundle; from tests.view.graphs import summary;"
        "print(sorted(dispatch_bundle(summary(), None, []))); print('anywidget' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert done.stdout.splitlines() == [str(sorted([MIME_TYPE, "text/html", "text/plain"])), "False"]


def test_an_empty_graph_is_an_output_too() -> None:
    """A lattice without electrons has an output like any other."""
    assert dispatch_bundle(summary(), Graph("empty", [], [], [], [Settings()], -1), [], widget=False)["text/html"]


def test_counts_say_what_is_drawn() -> None:
    """Taking a task's tuple apart makes nodes that run but are not drawn: they are not counted."""
    names = [("split", NodeKind.ELECTRON, 0), ("split[0]", NodeKind.ITEM, -1), ("split[1]", NodeKind.ITEM, -1)]
    nodes = [Node(*name) for name in [*names, ("fit", NodeKind.ELECTRON, 1), ("fit.score", NodeKind.ATTRIBUTE, -1)]]
    pairs = [(0, 1), (0, 2), (1, 3), (2, 3), (3, 4)]
    edges = [Edge(source, target, "x", EdgeKind.ARG, 0) for source, target in pairs]
    graph = Graph("experiment", nodes, edges, [], [Settings()], 4)
    states = [NodeState(node, "completed", 1.0, 2.0, 1) for node in range(3)] + [NodeState(3, "running", 2.0)]
    its = msgspec.structs.replace(summary(), counts=Counts(completed=3, running=1, pending=1))

    bundle = dispatch_bundle(its, graph, states, widget=False)

    assert "1 of 2 done, 1 running (" in bundle["text/plain"]
    assert "1 of 2 done, 1 running<" in bundle["text/html"]


def test_a_name_without_end_widens_no_page() -> None:
    """A function may be called anything: names are one line and cut wherever they are shown; errors are cut, too."""
    for name in ("x" * 1_000_000, "line\n" * 5_000, "a\u0301" * 5_000):
        graph = Graph(name, [Node(name, NodeKind.ELECTRON, 0)], [], [], [Settings()], 0)
        one = msgspec.structs.replace(summary(), name=name, error=name)
        bundle = dispatch_bundle(one, graph, STATES, widget=False)

        assert len(bundle["text/plain"]) < 500
        assert bundle["text/plain"].count("\n") == 0
        assert len(bundle["text/html"]) < 20_000
        seen = Seen(bundle["text/html"])
        picture = next(attrs["src"] for tag, attrs in seen.tags if tag == "img")
        assert picture is not None
        svg = ET.fromstring(base64.b64decode(picture.partition(",")[2]))
        assert float(svg.get("width", "0")) < 2_000
