"""Events and texts are folded to the outputs that a notebook cell would have."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from covalab.core.errors import BlobNotFound
from covalab.core.model import Failure, NodeOutput, Value
from covalab.core.outputs import (
    Event,
    EventKind,
    StreamText,
    compact,
    decode,
    derived,
    encode,
    error_output,
    fold,
    frame,
    read_frames,
    recorded,
)

Outputs = list[dict[str, Any]]


def event(kind: EventKind, out: int = 0, err: int = 0, content: object = None, display_id: str = "") -> Event:
    """Return an event with content as JSON."""
    return Event(kind, out, err, msgspec.json.encode(content), display_id)


def shown(text: str, out: int = 0, err: int = 0, display_id: str = "", kind: EventKind = "display") -> Event:
    """Return the display of a text."""
    content = {"output_type": "display_data", "data": {"text/plain": text}, "metadata": {}}
    return event(kind, out, err, content, display_id)


def plain(outputs: Outputs) -> list[str]:
    """Return outputs as short texts: those of a stream with its name."""
    return [
        f"{one['name']}:{one['text']}" if one["output_type"] == "stream" else str(one["data"]["text/plain"])
        for one in outputs
    ]


def folded(*events: Event, out: str = "", err: str = "") -> list[str]:
    """Fold events over two texts."""
    return plain(fold(events, StreamText(out.encode()), StreamText(err.encode())))


@pytest.mark.parametrize(
    ("events", "out", "err", "expected"),
    [
        ([], "", "", []),
        ([], "a", "b", ["stdout:a", "stderr:b"]),
        ([shown("x")], "ab", "", ["x", "stdout:ab"]),
        ([shown("x", 1)], "ab", "", ["stdout:a", "x", "stdout:b"]),
        ([shown("x", 2), shown("y", 2)], "ab", "", ["stdout:ab", "x", "y"]),
        ([event("mark", 1)], "ab", "e", ["stdout:a", "stderr:e", "stdout:b"]),
        ([event("mark", 1, 0), event("mark", 2, 1)], "ab", "ef", ["stdout:a", "stderr:e", "stdout:b", "stderr:f"]),
        ([event("mark")], "ab", "e", ["stderr:e", "stdout:ab"]),
        ([event("mark", 1, 0), shown("x", 1, 1)], "ab", "e", ["stdout:a", "stderr:e", "x", "stdout:b"]),
    ],
)
def test_text_and_displays_are_in_the_order_in_which_they_came(
    events: list[Event], out: str, err: str, expected: list[str]
) -> None:
    """Each event has the positions in both texts; neighbouring pieces of one stream are one output."""
    assert folded(*events, out=out, err=err) == expected


@pytest.mark.parametrize(
    ("events", "out", "expected"),
    [
        ([shown("x"), event("clear", content=False)], "", []),
        ([shown("x"), event("clear", content=True)], "", ["x"]),
        ([shown("x"), event("clear", content=True), shown("y")], "", ["y"]),
        ([shown("x"), event("clear", content=True)], "text", ["stdout:text"]),
        ([event("clear", 1, content=False)], "ab", ["stdout:b"]),
        (
            [shown("x"), event("clear", content=True), event("clear", content=True), shown("y"), shown("z")],
            "",
            ["y", "z"],
        ),
        ([event("clear", 2, content=False), shown("x", 2)], "ab", ["x"]),
    ],
)
def test_clear_output_takes_away_what_came_before(events: list[Event], out: str, expected: list[str]) -> None:
    """At once, or when the next output comes."""
    assert folded(*events, out=out) == expected


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([shown("x", display_id="i"), shown("y", display_id="i", kind="update")], ["y"]),
        ([shown("x", display_id="i"), shown("y", display_id="j", kind="update")], ["x"]),
        (
            [shown("x", display_id="i"), shown("z", display_id="i"), shown("y", display_id="i", kind="update")],
            ["y", "y"],
        ),
        ([shown("y", display_id="i", kind="update")], []),
        (
            [shown("x", display_id="i"), event("clear", content=False), shown("y", display_id="i", kind="update")],
            [],
        ),
    ],
)
def test_an_update_changes_what_is_shown_under_its_id(events: list[Event], expected: list[str]) -> None:
    """All of it, and nothing that was taken away."""
    assert folded(*events) == expected


def test_carriage_returns_and_backspaces_stay_in_the_text() -> None:
    """Front ends know what to do with them, and a reader may want what was really printed."""
    assert folded(out="10%\r20%\b!") == ["stdout:10%\r20%\b!"]


def test_the_middle_of_a_long_text_is_left_out_and_said_once() -> None:
    """Whatever pieces it is cut into."""
    text = StreamText(b"head", b"tail", 1000)
    whole = "head\n… 992 bytes left out …\ntail"
    events = [event("mark", position) for position in (2, 500, 600, 998)]

    assert text.whole() == whole
    assert "".join(one["text"] for one in fold(events, text, StreamText(b""))) == whole


def test_what_is_left_out_is_one_output_however_often_it_is_said() -> None:
    """The last text counts."""
    events = [shown("x"), event("left_out", content="1 left"), event("left_out", content="2 left")]

    assert folded(*events) == ["x", "stderr:2 left"]


FAILURE = Failure("runtime", "no", "mod.Wrong", "Traceback:\n  line\nmod.Wrong: no\n")


@pytest.mark.parametrize(
    ("stdout", "stderr", "failure", "expected"),
    [
        ("", "", None, []),
        ("a", "", None, ["stdout:a"]),
        ("a", "b", None, ["stdout:a", "stderr:b"]),
        ("", "warned\n" + FAILURE.traceback, FAILURE, ["stderr:warned\n"]),
        ("", FAILURE.traceback, FAILURE, []),
        ("", "last\nstopped\n", Failure("timeout", "stopped"), ["stderr:last\n"]),
        ("", "Traceback:", FAILURE, ["stderr:Traceback:"]),
    ],
)
def test_a_node_that_displayed_nothing_has_its_text_and_its_error(
    stdout: str, stderr: str, failure: Failure | None, expected: list[str]
) -> None:
    """The traceback is in the error, and not once more in the text."""
    outputs = derived(stdout, stderr, failure)

    if failure is not None:
        assert outputs.pop() == error_output(failure)
    assert plain(outputs) == expected


def test_an_error_has_the_form_of_a_notebook() -> None:
    """With a name even where no exception was raised."""
    assert error_output(FAILURE) == {
        "output_type": "error",
        "ename": "Wrong",
        "evalue": "no",
        "traceback": ["Traceback:", "  line", "mod.Wrong: no"],
    }
    assert error_output(Failure("worker_lost", "gone"))["ename"] == "worker_lost"


def test_outputs_that_were_stored_count_and_what_was_printed_where_they_are_gone() -> None:
    """A blob may have been deleted."""
    outputs: Outputs = [{"output_type": "display_data", "data": {"text/plain": "é"}, "metadata": {}}]
    kept = {"x": encode(outputs)}
    node = NodeOutput("printed", "", None, Value(1, "outputs", data=b"x"))

    def load(value: Value) -> bytes:
        assert value.data is not None
        return kept[value.data.decode()]

    def gone(value: Value) -> bytes:
        message = "gone"
        raise BlobNotFound(message)

    assert recorded(node, load) == outputs == decode(kept["x"])
    assert plain(recorded(node, gone)) == ["stdout:printed"]


def test_frames_that_are_not_whole_yet_wait() -> None:
    """A reader may come while one is written."""
    events = [shown("x"), shown("y", 5)]
    data = b"".join(map(frame, events))
    first = len(frame(events[0]))

    for size in range(len(data) + 1):
        found, position = read_frames(data[:size])
        assert found == events[: (size >= first) + (size == len(data))]
        assert position == (0, first, len(data))[len(found)]


IDS = st.sampled_from(["", "a", "b"])
KINDS: Any = st.sampled_from(["display", "update", "clear", "mark", "left_out", "result"])


@st.composite
def histories(draw: Any) -> list[Event]:
    """Draw events with growing positions."""
    out = err = 0
    events = []
    for number, (kind, display_id, more_out, more_err, wait) in enumerate(
        draw(st.lists(st.tuples(KINDS, IDS, st.integers(0, 2), st.integers(0, 2), st.booleans()), max_size=20))
    ):
        out, err = out + more_out, err + more_err
        if kind in ("display", "update", "result"):
            events.append(shown(f"{number}", out, err, display_id if kind != "result" else "", kind))
        elif kind == "clear":
            events.append(event("clear", out, err, wait))
        else:
            events.append(event(kind, out, err, f"{number} left" if kind == "left_out" else None))
    return events


def test_that_outputs_were_left_out_is_said_again_after_a_clear() -> None:
    """The first notice goes with what it is among."""
    events = [event("left_out", 0, 0, "3 left"), event("clear", 0, 0, True), event("left_out", 0, 0, "4 left")]
    events.append(shown("a", 0, 0, "", "display"))

    outputs = fold(events, StreamText(b""), StreamText(b""))

    assert [one.get("text") for one in outputs] == ["4 left", None]
    assert fold(compact(events), StreamText(b""), StreamText(b"")) == outputs


@given(histories())
def test_fewer_events_fold_to_the_same(events: list[Event]) -> None:
    """A file that has grown is written anew, and nobody sees a difference."""
    out, err = StreamText(b"o" * 50), StreamText(b"e" * 50)

    assert fold(compact(events), out, err) == fold(events, out, err)
    assert len(compact(events)) <= len(events)


@given(histories())
def test_all_text_is_there_unless_it_was_cleared(events: list[Event]) -> None:
    """Each byte once, in the order of its stream."""
    outputs = fold(
        [one for one in events if one.kind != "clear"], StreamText(bytes(range(65, 90))), StreamText(b"e" * 9)
    )
    text = "".join(one["text"] for one in outputs if one.get("name") == "stdout")

    assert text == bytes(range(65, 90)).decode()
