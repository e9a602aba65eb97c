"""Outputs of a node: events in the order in which they happened, folded to the list that a notebook cell would have.

Pure. Text that a task prints is in two files of its own, whatever prints it; an event has the positions in both at
which it happened. So a list of outputs is made of the events and the two texts, at any time while the node runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Literal, TypeAlias

import msgspec

from covalab.core.errors import BlobDamaged, BlobNotFound
from covalab.core.model import Failure, NodeDetail, NodeOutput, Outcome, Value

Output: TypeAlias = "dict[str, Any]"
"""An output in nbformat's shape: `output_type` is stream, display_data, execute_result or error."""

EventKind = Literal["display", "result", "update", "clear", "error", "mark", "left_out", "time"]
_HEAD: Final = 4
_NOTHING: Final = b"null"


class Outputs(msgspec.Struct, frozen=True):
    """Outputs of a node from position `first` on: those before it are as they were at the number that was asked for.

    `number` is another whenever something has changed.
    """

    outputs: list[Output]
    first: int
    number: int
    is_final: bool


class Event(msgspec.Struct, frozen=True, array_like=True):
    """One event: the lengths of both streams when it happened, and JSON of what was shown.

    Of a "display", "result", "update" or "error", `content` is the output. Of "clear" it says whether to wait for the
    next output. "mark" is where a text goes from standard output to standard error, "time" where standard output is
    written on; of both, `content` is when, in seconds since the epoch. "left_out" is a text that says what was not
    recorded from here on; a later one replaces it.
    """

    kind: EventKind
    out: int
    err: int
    content: bytes = _NOTHING
    display_id: str = ""


_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODER: Final = msgspec.msgpack.Decoder(Event)


def frame(event: Event) -> bytes:
    """Return an event as it is written to a file."""
    data = _ENCODER.encode(event)
    return len(data).to_bytes(_HEAD, "big") + data


def read_frames(data: bytes) -> tuple[list[Event], int]:
    """Return the events in the beginning of a file, and how many bytes they are; the last may not be whole yet."""
    events = []
    position = 0
    view = memoryview(data)
    while position + _HEAD <= len(data):
        end = position + _HEAD + int.from_bytes(view[position : position + _HEAD], "big")
        if end > len(data):
            break
        events.append(_DECODER.decode(view[position + _HEAD : end]))
        position = end
    return events, position


class StreamText:
    """Text of a stream, from which the middle may have been left out.

    Parameters
    ----------
    head
        Its bytes from the start on.
    tail
        Its last bytes; empty if `head` is all of it.
    size
        The length of the whole stream.
    """

    def __init__(self, head: bytes, tail: bytes = b"", size: int | None = None) -> None:
        self._head, self._tail = head, tail
        self.size = len(head) if size is None else size
        self._tail_start = self.size - len(tail)

    def between(self, start: int, end: int) -> str:
        """Return the text between two positions; where it was left out, it says how much."""
        text = self._head[start:end].decode("utf-8", "replace")
        # Said once, in the piece that reaches the first byte that is missing.
        if self._tail_start > len(self._head) and start <= len(self._head) < end:
            text += f"\n… {self._tail_start - len(self._head):,} bytes left out …\n"
        if end > self._tail_start:
            text += self._tail[max(start - self._tail_start, 0) : end - self._tail_start].decode("utf-8", "replace")
        return text

    def whole(self) -> str:
        """Return all of it."""
        return self.between(0, self.size)


def derived(stdout: str, stderr: str, failure: Failure | None) -> list[Output]:
    """Return the outputs of a node that displayed nothing: what it printed, and why it failed.

    Examples
    --------
    >>> derived("hello", "", None)
    [{'output_type': 'stream', 'name': 'stdout', 'text': 'hello'}]
    """
    if failure is not None:  # standard error has its text at the end
        stderr = stderr.removesuffix(failure.traceback or f"{failure.message}\n")
    texts = (("stdout", stdout), ("stderr", stderr))
    outputs: list[Output] = [{"output_type": "stream", "name": name, "text": text} for name, text in texts if text]
    if failure is not None:
        outputs.append(error_output(failure))
    return outputs


def recorded(node: NodeDetail | NodeOutput | Outcome, load: Callable[[Value], bytes]) -> list[Output]:
    """Return the outputs of a node that ended; `load` returns the bytes of a stored value."""
    if node.outputs is not None:
        try:
            return decode(load(node.outputs))
        except (BlobNotFound, BlobDamaged):
            pass
    return derived(node.stdout, node.stderr, node.failure)


def error_output(failure: Failure) -> Output:
    """Return the output that says why a node failed."""
    lines = failure.traceback.rstrip("\n").split("\n") if failure.traceback else [failure.reason]
    name = failure.exception.rpartition(".")[2] or failure.type
    return {"output_type": "error", "ename": name, "evalue": failure.message, "traceback": lines}


def encode(outputs: Sequence[Output]) -> bytes:
    """Return outputs as JSON."""
    return msgspec.json.encode(outputs)


def decode(data: bytes) -> list[Output]:
    """Return the outputs that `encode` was given."""
    return msgspec.json.decode(data, type=list[dict[str, Any]])


def fold(events: Iterable[Event], stdout: StreamText, stderr: StreamText) -> list[Output]:
    """Return the outputs that events and texts come to."""
    folding = _Folding(stdout, stderr)
    for event in events:
        folding.add(event)
    return folding.end()


class _Folding:
    """The outputs so far."""

    def __init__(self, stdout: StreamText, stderr: StreamText) -> None:
        self._texts = {"stdout": stdout, "stderr": stderr}
        self._at = {"stdout": 0, "stderr": 0}
        self._outputs: list[Output] = []
        self._by_id: dict[str, list[Output]] = {}
        self._clears = False  # when the next output comes
        self._begins_with_stderr = False
        self._left_out: Output | None = None

    def add(self, event: Event) -> None:
        content = msgspec.json.decode(event.content)
        if event.kind == "update":  # what is shown already: this is no place between two outputs
            for output in self._by_id.get(event.display_id, []):
                output["data"], output["metadata"] = content["data"], content["metadata"]
            return
        # One that is about to be cleared is not replaced, but comes again.
        if event.kind == "left_out" and self._left_out is not None and not self._clears:
            self._left_out["text"] = content
            return
        self._advance(event.out, event.err)
        self._begins_with_stderr = event.kind == "mark"
        if event.kind == "clear":
            self._clears = True
            if not content:
                self._clear()
        elif event.kind == "left_out":
            said = {"output_type": "stream", "name": "stderr", "text": content}
            self._append(said)
            self._left_out = said
        elif event.kind not in ("mark", "time"):
            self._append(content)
            if event.display_id:
                self._by_id.setdefault(event.display_id, []).append(content)

    def end(self) -> list[Output]:
        self._advance(self._texts["stdout"].size, self._texts["stderr"].size)
        return self._outputs

    def _advance(self, out: int, err: int) -> None:
        order = ("stderr", "stdout") if self._begins_with_stderr else ("stdout", "stderr")
        for name, end in zip(order, (err, out) if self._begins_with_stderr else (out, err), strict=True):
            start = self._at[name]
            if end > start:
                self._at[name] = end
                self._add_text(name, self._texts[name].between(start, end))

    def _add_text(self, name: str, text: str) -> None:
        if not text:
            return
        if self._clears:
            self._clear()
        last = self._outputs[-1] if self._outputs else None
        if last is not None and last is not self._left_out and last.get("name") == name:
            last["text"] += text
        else:
            self._outputs.append({"output_type": "stream", "name": name, "text": text})

    def _append(self, output: Output) -> None:
        if self._clears:
            self._clear()
        self._outputs.append(output)

    def _clear(self) -> None:
        self._clears = False
        self._left_out = None
        self._outputs.clear()
        self._by_id.clear()


def compact(events: Sequence[Event]) -> list[Event]:
    """Return fewer events that fold to the same: without what was cleared, and with each update where it is shown."""
    kept: list[Event] = []
    by_id: dict[str, list[int]] = {}
    left_out = -1
    for event in events[_start(events) :]:
        if event.kind == "update":
            for position in by_id.get(event.display_id, []):
                shown = kept[position]
                kept[position] = msgspec.structs.replace(shown, content=_updated(shown.content, event.content))
        elif event.kind == "left_out" and left_out >= 0:
            kept[left_out] = msgspec.structs.replace(kept[left_out], content=event.content)
        else:
            if event.kind in ("left_out", "clear"):  # one that was cleared is not replaced, but comes again
                left_out = len(kept) if event.kind == "left_out" else -1
            if event.display_id:
                by_id.setdefault(event.display_id, []).append(len(kept))
            kept.append(event)
    return kept


def _start(events: Sequence[Event]) -> int:
    """Return the position of the last event that takes all before it away."""
    start = 0
    waits = -1
    for position, event in enumerate(events):
        if event.kind == "clear":
            waits = position
            if not msgspec.json.decode(event.content):
                start = position
        elif waits > start and event.kind not in ("mark", "time", "update", "left_out"):
            start = waits
    return start


def _updated(shown: bytes, update: bytes) -> bytes:
    content, new = msgspec.json.decode(shown), msgspec.json.decode(update)
    content["data"], content["metadata"] = new["data"], new["metadata"]
    return msgspec.json.encode(content)
