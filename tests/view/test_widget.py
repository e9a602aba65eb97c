"""The widget's kernel side, with a real dispatcher."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import covalab as ct
from covalab.client import Client
from covalab.core.model import DispatchId
from covalab.view.bundle import MIME_TYPE, dispatch_bundle
from covalab.view.widget import DispatchWidget

PATIENCE = 60.0


class Page:
    """Stand-in for the browser: collects the messages of a widget and sends some."""

    def __init__(self, client: Client, dispatch: str) -> None:
        summary = client.summary(DispatchId(dispatch))
        graph = client.graph(DispatchId(dispatch))
        self.widget = DispatchWidget(bundle=dispatch_bundle(summary, graph, [], widget=False)[MIME_TYPE])
        self.heard: list[dict[str, Any]] = []
        self._news = threading.Condition()
        self.widget.send = self._hear

    def _hear(self, content: dict[str, Any], _buffers: object = None) -> None:
        with self._news:
            self.heard.append(content)
            self._news.notify_all()

    def say(self, **content: Any) -> None:
        """Send a message, as the browser does."""
        self.widget._on_message(self.widget, content, [])

    def wait_for_status(self, status: str) -> None:
        """Return once the page was told that the dispatch stands there."""

        def told() -> bool:
            return any(m["type"] == "changes" and m["changes"]["summary"]["status"] == status for m in self.heard)

        with self._news:
            assert self._news.wait_for(told, PATIENCE), self.heard

    def answers(self, kind: str) -> list[dict[str, Any]]:
        """Return the messages of a type."""
        return [message for message in self.heard if message["type"] == kind]


@ct.electron
def waiting(path: str) -> str:
    """Wait until a file is there."""
    import time
    from pathlib import Path

    while not Path(path).exists():
        time.sleep(0.02)
    return "seen"


@ct.lattice
def waiter(path: str) -> Any:
    """Wait for a file, in a task."""
    return waiting(path)


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """Return the path of a file for which tasks wait; it is there at the end, whatever happens."""
    path = tmp_path / "gate"
    yield path
    path.touch()


def test_a_page_that_looks_is_told_until_the_end(live: Client, gate: Path) -> None:
    """Changes come without a question, and the thread ends with the dispatch."""
    page = Page(live, ct.dispatch(waiter)(str(gate)))
    page.say(type="shown", since=0, graph=True)
    page.wait_for_status("running")
    gate.touch()
    page.wait_for_status("completed")

    assert page.widget._thread is not None
    page.widget._thread.join(PATIENCE)
    assert not page.widget._thread.is_alive()
    states = {node: status for m in page.answers("changes") for node, status, *_ in m["changes"]["nodes"]}
    assert states[0] == "completed"
    page.say(type="log", request="a-1", query={"count": 1, "kinds": "state", "text": ""})
    ((answer),) = page.answers("log")
    assert (answer["request"], answer["log"]["has_ended"]) == ("a-1", True)
    assert "Dispatch completed" in answer["log"]["lines"][0][6]


def test_nobody_is_told_before_somebody_looks(live: Client, gate: Path) -> None:
    """A widget that no page shows asks for nothing."""
    page = Page(live, ct.dispatch(waiter)(str(gate)))

    assert page.widget._thread is None
    assert page.heard == []


@ct.lattice
def asking() -> Any:
    """Wait for a person."""
    return ct.pause_for("approval", "ship it?")


def test_a_page_can_answer(live: Client) -> None:
    """An interrupt is sent with its description; an answer by message counts; a second one is a problem in words."""
    page = Page(live, ct.dispatch(asking)())
    page.say(type="shown", since=0, graph=True)
    page.wait_for_status("running")
    page.say(type="execution", request="a-1")
    (waiting_,) = page.answers("execution")[0]["execution"]["interrupts"]
    assert (waiting_["type"], waiting_["text"]) == ("approval", "ship it?")

    command = {"action": "answer", "id": waiting_["id"], "request_id": "r1"}
    page.say(type="command", request="a-2", command=command, json='{"ok": 1.0}')
    page.wait_for_status("completed")
    page.say(type="command", request="a-3", command={**command, "request_id": "r2"}, json="true")
    page.say(type="command", request="a-4", command={"action": "close"})
    page.say(type="stream", request="a-5", since=0, last=1)

    assert [m["request"] for m in page.answers("execution")] == ["a-1", "a-2"]
    ((problem),) = page.answers("problem")
    assert problem["request"] == "a-3"
    assert "with {'ok': 1.0}" in problem["message"]
    assert [item["kind"] for item in page.answers("stream")[0]["page"]["items"]] == ["answer"]
    assert page.answers("execution")[1]["execution"]["interrupts"][0]["value"][3] is None


def test_a_page_can_cancel(live: Client, gate: Path) -> None:
    """Cancel by message is noted, answered, and then told like every change."""
    page = Page(live, ct.dispatch(waiter)(str(gate)))
    page.say(type="shown", since=0, graph=True)
    page.wait_for_status("running")
    page.say(type="cancel", request="a-1")
    page.wait_for_status("cancelled")

    assert page.answers("done") == [{"type": "done", "request": "a-1"}]


def test_a_page_gets_a_node_without_its_bytes(live: Client, gate: Path) -> None:
    """The panel's question is answered with text, never with the value."""
    gate.touch()
    run = ct.dispatch(waiter)(str(gate))
    ct.get_result(run, wait=True)
    page = Page(live, run)
    page.say(type="node", request="a-2", node=0)

    (answer,) = page.answers("node")
    size, kind, text, data, *_ = answer["detail"]["value"]
    assert (kind, text, data) == ("str", "seen", None)
    assert size > 0


def test_a_page_without_the_graph_gets_it(live: Client, gate: Path) -> None:
    """Large graphs are not in the notebook: the page asks for them."""
    gate.touch()
    run = ct.dispatch(waiter)(str(gate))
    page = Page(live, run)
    page.say(type="shown", since=0, graph=False)

    (answer,) = page.answers("graph")
    assert answer["graph"]["nodes"][0][0] == "waiting"


def test_an_unknown_node_is_a_problem_in_words(live: Client, gate: Path) -> None:
    """A question that cannot be answered is answered with the reason, not with silence."""
    gate.touch()
    page = Page(live, ct.dispatch(waiter)(str(gate)))
    page.say(type="node", request="a-3", node=999)

    (answer,) = page.answers("problem")
    assert answer["request"] == "a-3"
    assert answer["message"]
