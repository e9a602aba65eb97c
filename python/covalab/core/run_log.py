"""Log of a whole dispatch: what its nodes printed, and how their states changed, in the order of time. Pure.

Nothing is sorted as a whole: runs are read in the order of their starts (or backwards, of their ends), and only those
that overlap are merged. So a page of a dispatch of ten thousand nodes costs what the runs around it cost.
"""

from __future__ import annotations

import heapq
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import Annotated, Final, Literal, NamedTuple, TypeAlias, get_args

import msgspec

from covalab.core.duration_text import duration_text
from covalab.core.lifecycle import TERMINAL
from covalab.core.model import DispatchSummary, Edge, Failure, NodeState, Status, TextTime
from covalab.core.outputs import Event, StreamText

LogKind = Literal["state", "failure", "stdout", "stderr"]
Place: TypeAlias = "tuple[float, int, int, int]"
"""Place of a line in the log: its time, its node, the run of the node, and the number of the line in it."""

KINDS: Final = get_args(LogKind)
MOST_LINES: Final = 1_000
_MOST_TIMES: Final = 2_000
_MOST_CHARACTERS: Final = 1_000_000
"""The most that a page has, but for its last line."""
_MOST_SCANNED: Final = 10_000_000
_EACH_LINE: Final = 100
"""The most characters that are searched for a page, and what a line costs beside its own."""
_BEGIN: Final[Place] = (-math.inf, -1, 0, 0)
_NUMBERS: Final = 4
_CONTROL: Final = re.compile(
    r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])"  # colours, titles and the like
    r"|[\x00-\x08\x0b-\x1f\x7f]"
)


class LogLine(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One line of the log. `node` is -1 for the dispatch itself, `name` what the node is called in the graph.

    `at`, `node`, `attempt` and `number` are its place. `status` is that of a change of state, else null.
    """

    at: float
    node: int
    attempt: int
    number: int
    kind: LogKind
    name: str
    text: str
    status: Status | None = None

    @property
    def place(self) -> Place:
        """Its place."""
        return self.at, self.node, self.attempt, self.number


class LogPage(msgspec.Struct, frozen=True):
    """Lines in order, whether there may be more in the direction that was asked for, and from where on these are.

    `reached` is the place to ask on from, also where the search for a text was ended before it found enough.
    `has_ended`: nothing will be added. `is_by_start`: of some text only the start of its node is known.
    """

    lines: list[LogLine]
    more: bool
    reached: str
    has_ended: bool
    is_by_start: bool = False


class LogQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Query of the log: the lines after a place (``start``: from the first on), before one, or the last.

    `kinds` are separated by commas; empty: all. Each word of `text` is looked for in a line and the name of its node.
    """

    after: Annotated[str, msgspec.Meta(max_length=80)] = ""
    before: Annotated[str, msgspec.Meta(max_length=80)] = ""
    count: Annotated[int, msgspec.Meta(ge=1, le=MOST_LINES)] = 300
    kinds: Annotated[str, msgspec.Meta(pattern=r"^((state|failure|stdout|stderr)(,|$))*$")] = ""
    text: Annotated[str, msgspec.Meta(max_length=200)] = ""


class LoggedRun(NamedTuple):
    """One run of a node, or (node -1) the dispatch: when it was, and what makes its lines once they are needed."""

    node: int
    attempt: int
    started_at: float
    ended_at: float
    lines: Callable[[], list[LogLine]]
    has_failed: bool = True  # else it has no line of a failure


def place_text(place: Place) -> str:
    """Return a place as a query has it."""
    return ",".join(map(repr, place))


def place_of(text: str) -> Place:
    """Return the place that a query has; raises `ValueError`.

    Examples
    --------
    >>> place_of("start")
    (-inf, -1, 0, 0)
    >>> place_of(place_text((1.5, 3, 1, 0)))
    (1.5, 3, 1, 0)
    """
    if text == "start":
        return _BEGIN
    at, *numbers = text.split(",")
    if len(numbers) != _NUMBERS - 1:
        message = f"{text!r} is no place in a log; it has a time and three numbers"
        raise ValueError(message)
    node, attempt, number = map(int, numbers)
    return float(at), node, attempt, number


def text_times(events: Iterable[Event], stdout: StreamText, stderr: StreamText) -> tuple[TextTime, ...]:
    """Return when a node printed on, by the events that say so; in characters of the two texts as they are stored."""
    found: list[TextTime] = []
    at = [0, 0]
    lengths = [0, 0]
    for event in events:
        if event.kind not in ("mark", "time") or event.content == b"null":
            continue
        for stream, (text, position) in enumerate(((stdout, event.out), (stderr, event.err))):
            if position > at[stream]:
                lengths[stream] += len(text.between(at[stream], position))
                at[stream] = position
        found.append(TextTime(float(event.content), lengths[0], lengths[1], event.kind == "mark"))
    return tuple(found[:: math.ceil(len(found) / _MOST_TIMES)]) if found else ()


class Printed(NamedTuple):
    """Texts that a node printed in one run, and when."""

    stdout: str
    stderr: str
    times: tuple[TextTime, ...] = ()


NOTHING: Final = Printed("", "")


def printed_lines(printed: Printed, started_at: float, *, is_whole: bool) -> list[tuple[float, LogKind, str | None]]:
    """Return the lines that a node printed, with their times, by when each began.

    Parameters
    ----------
    printed
        The texts.
    started_at
        The time of what comes before the first that is known.
    is_whole
        Whether nothing is added. If not, a line without an end is None: it keeps its number until it is whole.

    Examples
    --------
    >>> texts = Printed("a" + chr(10) + "b" + chr(10), "no" + chr(10), (TextTime(2.0, 2, 0, True), TextTime(3.0, 2, 3)))
    >>> printed_lines(texts, 1.0, is_whole=True)
    [(1.0, 'stdout', 'a'), (2.0, 'stderr', 'no'), (3.0, 'stdout', 'b')]
    """
    found: list[tuple[float, LogKind, list[str]]] = []
    unfinished: dict[LogKind, list[str]] = {}

    def add(at: float, kind: LogKind, text: str) -> None:
        for line in text.splitlines(keepends=True) if "\r" not in text else re.findall(r"[^\n]*\n|[^\n]+$", text):
            parts = unfinished.pop(kind, None)
            if parts is None:
                parts = []
                found.append((at, kind, parts))
            parts.append(line)
            if not line.endswith("\n"):
                unfinished[kind] = parts

    out = err = 0
    steps = [TextTime(started_at, 0, 0), *printed.times]
    for step, following in zip_longest(steps, printed.times):
        out_end = len(printed.stdout) if following is None else max(out, following.stdout)
        err_end = len(printed.stderr) if following is None else max(err, following.stderr)
        both: list[tuple[LogKind, str]] = [
            ("stdout", printed.stdout[out:out_end]),
            ("stderr", printed.stderr[err:err_end]),
        ]
        for kind, text in reversed(both) if step.is_stderr else both:
            add(step.at, kind, text)
        out, err = out_end, err_end
    if not is_whole:
        for parts in unfinished.values():
            parts.clear()
    return [(at, kind, _shown("".join(parts)) if parts else None) for at, kind, parts in found]


def _shown(line: str) -> str:
    """Return a line as a terminal shows it in the end: without colours, and what was written over."""
    return _CONTROL.sub("", line.rstrip("\r\n").rpartition("\r")[2])


def log_page(runs: Iterable[LoggedRun], query: LogQuery, *, has_ended: bool) -> LogPage:
    """Return the page of a log that a query asks for; raises `ValueError` if it names no place."""
    backwards = not query.after
    limit = place_of(query.before or query.after) if query.before or query.after else None
    kinds = {kind for kind in query.kinds.split(",") if kind}
    words = query.text.lower().split()
    if kinds == {"failure"}:
        runs = [run for run in runs if run.has_failed]
    found: list[LogLine] = []
    reached = limit
    n_characters = n_scanned = 0
    for line in _merged(runs, limit, backwards=backwards):
        if len(found) >= query.count or n_characters > _MOST_CHARACTERS or n_scanned > _MOST_SCANNED:
            break
        reached = line.place
        n_scanned += len(line.text) + _EACH_LINE
        if (kinds and line.kind not in kinds) or (words and not _has(line, words)):
            continue
        found.append(line)
        n_characters += len(line.text)
    else:
        return LogPage(found[::-1] if backwards else found, False, place_text(reached or _BEGIN), has_ended)
    return LogPage(found[::-1] if backwards else found, True, place_text(reached or _BEGIN), has_ended)


def _has(line: LogLine, words: Sequence[str]) -> bool:
    text = f"{line.name} {line.text}".lower()
    return all(word in text for word in words)


def _merged(runs: Iterable[LoggedRun], limit: Place | None, *, backwards: bool) -> Iterator[LogLine]:
    """Yield the lines of runs in order, those after a place; or backwards, those before it."""
    sign = -1 if backwards else 1

    def key(place: Place) -> tuple[float, ...]:
        return tuple(sign * number for number in place)

    after = None if limit is None else key(limit)
    known = list(runs)
    begins = sorted((sign * (run.ended_at if backwards else run.started_at), at) for at, run in enumerate(known))
    waiting = iter(begins)
    following = next(waiting, None)
    open_: list[tuple[tuple[float, ...], int, Iterator[LogLine], LogLine]] = []

    def push(number: int, lines: Iterator[LogLine]) -> None:
        for line in lines:
            place = key(line.place)
            if after is None or place > after:
                heapq.heappush(open_, (place, number, lines, line))
                return

    while open_ or following is not None:
        # All that may have a line before the next one.
        while following is not None and (not open_ or following[0] <= open_[0][0][0]):
            run = known[following[1]]
            last = sign * (run.started_at if backwards else run.ended_at)
            if after is None or last >= after[0]:
                lines = run.lines()
                push(following[1], iter(reversed(lines) if backwards else lines))
            following = next(waiting, None)
        if open_:
            _, number, rest, line = heapq.heappop(open_)
            yield line
            push(number, rest)


class Run(NamedTuple):
    """Facts about one run of a node. `ended_at` is None while it runs.

    `is_again`: another run follows, at `again_at` if it waits. `is_quiet`: its state is of no interest.
    """

    node: int
    attempt: int
    name: str
    status: Status
    started_at: float
    ended_at: float | None
    worker: str = ""
    failure: Failure | None = None
    is_again: bool = False
    again_at: float | None = None
    is_quiet: bool = False


def run_lines(run: Run, printed: Printed = NOTHING) -> list[LogLine]:
    """Return the lines of one run of a node: that it started, what it printed, and how it ended."""
    node, attempt, name, status, started_at, ended_at, worker, failure, *_, is_quiet = run
    where = f" on worker {worker}" if worker else ""
    lines: list[LogLine] = []
    last = math.inf if ended_at is None else max(ended_at, started_at)
    number = -1

    def add(at: float, kind: LogKind, text: str | None, state: Status | None = None) -> None:
        nonlocal number
        number += 1
        if text is not None:
            when = min(max(at, started_at), last)
            lines.append(LogLine(when, node, attempt, number, kind, name, text, state))

    if attempt and not is_quiet:
        add(started_at, "state", f"Started{where}" + (f", attempt {attempt}" if attempt > 1 else ""), "running")
    traceback = "" if failure is None else failure.traceback
    is_repeated = bool(traceback) and printed.stderr.endswith(traceback)
    own = printed._replace(stderr=printed.stderr.removesuffix(traceback)) if is_repeated else printed
    at = started_at
    for at_line, kind, text in printed_lines(own, started_at, is_whole=ended_at is not None):
        at = max(at, at_line)  # a clock may be set back
        add(at, kind, text)
    if ended_at is None:
        return lines
    for line in traceback.splitlines() if is_repeated else ():
        add(last, "stderr", line)
    if not (is_quiet and status == "completed"):
        add(last, "failure" if status == "failed" else "state", _end_text(run, last), status)
    return lines


def _end_text(run: Run, ended_at: float) -> str:
    """Return how a run ended."""
    failure = run.failure
    after = f" after {duration_text(ended_at - run.started_at)}" if run.attempt else ""
    text = f"{run.status.capitalize()}{after}"
    if run.status == "failed":
        text += f": {failure.reason if failure else 'not known why'}"
    elif failure is not None and failure.message:
        text += f": {failure.message}"
    if run.is_again:
        wait = 0.0 if run.again_at is None else run.again_at - ended_at
        text += f"; runs again in {duration_text(wait)}" if wait > 0 else "; runs again"
    return text


def culprits(edges: Iterable[Edge], states: Sequence[NodeState]) -> dict[int, int]:
    """Return for each node that was skipped a node that failed or was cancelled before it, if there is one."""
    below: dict[int, list[int]] = {}
    for edge in edges:
        if states[edge.target].status == "skipped":
            below.setdefault(edge.source, []).append(edge.target)
    found: dict[int, int] = {}
    for state in states:
        if state.status not in ("failed", "cancelled"):
            continue
        reached = [state.node]
        for node in reached:  # grows while it is walked
            for child in below.get(node, ()):
                if child not in found:
                    found[child] = state.node
                    reached.append(child)
    return found


def dispatch_runs(summary: DispatchSummary) -> list[LoggedRun]:
    """Return the start and the end of a dispatch as runs of a line each."""
    name = summary.name
    moments: list[tuple[float, int, LogKind, str, Status]] = []
    if summary.started_at is not None:
        moments.append((summary.started_at, 0, "state", "Dispatch started", "running"))
    if summary.ended_at is not None and summary.status in TERMINAL:
        took = duration_text(summary.ended_at - (summary.started_at or summary.created_at))
        kind: LogKind = "failure" if summary.status == "failed" else "state"
        # After the last line of its nodes.
        at = math.nextafter(summary.ended_at, math.inf)
        moments.append((at, 1, kind, f"Dispatch {summary.status} after {took}", summary.status))
    return [
        LoggedRun(-1, 0, at, at, _one(LogLine(at, -1, 0, number, kind, name, text, status)))
        for at, number, kind, text, status in moments
    ]


def _one(line: LogLine) -> Callable[[], list[LogLine]]:
    return lambda: [line]
