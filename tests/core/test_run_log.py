"""The log of a dispatch: lines of runs that overlap, in the order of time, page by page."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from covalab.core.model import Edge, EdgeKind, Failure, NodeState, Status, TextTime
from covalab.core.outputs import Event, StreamText
from covalab.core.run_log import (
    LoggedRun,
    LogLine,
    LogPage,
    LogQuery,
    Printed,
    Run,
    culprits,
    log_page,
    place_of,
    printed_lines,
    run_lines,
    text_times,
)


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        (Printed("", ""), []),
        (Printed("a\nb", "c\n"), [(1.0, "stdout", "a"), (1.0, "stdout", "b"), (1.0, "stderr", "c")]),
        # A line has the time at which it began.
        (
            Printed(
                "ab\nc\n",
                "",
                (
                    TextTime(2.0, 1, 0),
                    TextTime(3.0, 3, 0),
                ),
            ),
            [(1.0, "stdout", "ab"), (3.0, "stdout", "c")],
        ),
        # Another stream in between is in between.
        (
            Printed(
                "ab\n",
                "x\n",
                (
                    TextTime(2.0, 1, 0, is_stderr=True),
                    TextTime(3.0, 1, 2),
                ),
            ),
            [(1.0, "stdout", "ab"), (2.0, "stderr", "x")],
        ),
        (Printed("a\n", "x\n", (TextTime(2.0, 0, 0, is_stderr=True),)), [(2.0, "stderr", "x"), (2.0, "stdout", "a")]),
        # What a terminal shows in the end.
        (Printed(" 10%\r100%\n\x1b[31mred\x1b[0m\n\n", ""), [(1.0, "stdout", t) for t in ("100%", "red", "")]),
        # Times that are further than the text, as of one that was cut, do no harm.
        (
            Printed(
                "a\n",
                "",
                (
                    TextTime(2.0, 90, 0),
                    TextTime(3.0, 80, 9),
                ),
            ),
            [(1.0, "stdout", "a")],
        ),
    ],
)
def test_what_was_printed_is_lines_with_their_times(printed: Printed, expected: list[object]) -> None:
    """By when each began."""
    assert printed_lines(printed, 1.0, is_whole=True) == expected


def test_a_line_that_is_not_whole_keeps_its_number_until_it_is() -> None:
    """So that who follows gets each line once."""
    run = Run(3, 1, "fit", "running", 1.0, None)
    before = run_lines(run, Printed("a\nb", "x\n"))
    after = run_lines(run, Printed("a\nbc\n", "x\n"))

    assert [(line.number, line.text) for line in before] == [(0, "Started"), (1, "a"), (3, "x")]
    assert [(line.number, line.text) for line in after] == [(0, "Started"), (1, "a"), (2, "bc"), (3, "x")]


def test_a_run_that_failed_says_why_after_its_traceback() -> None:
    """The traceback, which standard error repeats, has the time of the end."""
    failure = Failure("runtime", "no", "ValueError", "Traceback\nValueError: no\n")
    printed = Printed("a\n", "w\nTraceback\nValueError: no\n", (TextTime(2.0, 0, 0),))
    run = Run(3, 2, "fit", "failed", 1.0, 9.0, "host", failure, is_again=True, again_at=11.0)

    assert [(line.at, line.kind, line.text) for line in run_lines(run, printed)] == [
        (1.0, "state", "Started on worker host, attempt 2"),
        (2.0, "stdout", "a"),
        (2.0, "stderr", "w"),
        (9.0, "stderr", "Traceback"),
        (9.0, "stderr", "ValueError: no"),
        (9.0, "failure", "Failed after 8.0 s: ValueError: no; runs again in 2.0 s"),
    ]


def test_times_are_positions_in_the_texts_that_are_stored() -> None:
    """Characters, not bytes; and where the middle was left out, behind what says so."""
    events = [
        Event("time", 0, 0, b"1.5"),
        Event("display", 3, 0),
        Event("mark", 3, 0, b"2.5"),
        Event("time", 8, 1, b"3.5"),
    ]
    whole = StreamText("äb\ncd\n".encode())
    assert text_times(events, whole, StreamText(b"x")) == (
        TextTime(1.5, 0, 0),
        TextTime(2.5, 2, 0, is_stderr=True),
        TextTime(3.5, 6, 1),
    )
    cut = StreamText(b"ab", b"yz", 100)
    (time,) = text_times([Event("time", 99, 0, b"1.5")], cut, StreamText(b""))
    assert cut.whole()[time.stdout :] == "z"


def test_what_did_not_run_names_what_failed_before_it() -> None:
    """However far before it, and only for what was skipped."""
    words: list[Status] = ["failed", "skipped", "skipped", "completed", "skipped"]
    states = [NodeState(node, status) for node, status in enumerate(words)]
    edges = [Edge(source, target, "x", EdgeKind.ARG, 0) for source, target in ((0, 1), (1, 2), (3, 2), (3, 4))]

    assert culprits(edges, states) == {1: 0, 2: 0}


Runs = list[tuple[float, list[float]]]


def sources(runs: Runs) -> list[LoggedRun]:
    """Return runs with lines at these distances from each other."""
    made = []
    for node, (start, steps) in enumerate(runs):
        times = [start]
        for step in steps:
            times.append(times[-1] + step)
        lines = [LogLine(at, node, 1, n, "stdout", f"n{node}", f"t{n}") for n, at in enumerate(times)]
        made.append(LoggedRun(node, 1, times[0], times[-1], lambda lines=lines: lines))  # type: ignore[misc]
    return made


moments = st.integers(0, 6).map(float)
runs = st.lists(st.tuples(moments, st.lists(moments, max_size=4)), max_size=6)


@given(runs, st.integers(1, 5), st.sampled_from(["", "n1", "t0", "n2 t1"]))
def test_pages_in_both_directions_are_the_whole_log(found: Runs, count: int, text: str) -> None:
    """Each line once, in the order of time, whatever runs overlap and wherever a page ends."""
    made = sources(found)
    every = sorted((line for run in made for line in run.lines()), key=lambda line: line.place)
    wanted = [line for line in every if all(word in f"{line.name} {line.text}" for word in text.split())]

    def page(**query: str) -> LogPage:
        return log_page(made, LogQuery(count=count, text=text, **query), has_ended=True)

    forwards: list[LogLine] = []
    after = "start"
    while True:
        answer = page(after=after)
        forwards += answer.lines
        if not answer.more:
            break
        after = answer.reached
    assert forwards == wanted

    backwards: list[LogLine] = []
    before = ""
    while True:
        answer = page(before=before)
        backwards = answer.lines + backwards
        if not answer.more:
            break
        before = answer.reached
    assert backwards == wanted


def test_only_the_runs_around_a_page_are_read() -> None:
    """Of ten thousand, one after the other, those at the end, or at a place."""
    read: list[int] = []

    def run(node: int) -> LoggedRun:
        def lines() -> list[LogLine]:
            read.append(node)
            return [LogLine(float(node), node, 1, 0, "stdout", "fit", "x")]

        return LoggedRun(node, 1, float(node), node + 0.5, lines)

    every = [run(node) for node in range(10_000)]
    last = log_page(every, LogQuery(count=3), has_ended=True)
    middle = log_page(every, LogQuery(after="5000.0,5000,1,0", count=3), has_ended=True)

    assert [line.node for line in last.lines] == [9997, 9998, 9999]
    assert [line.node for line in middle.lines] == [5001, 5002, 5003]
    assert len(read) < 15

    # What would take long is done in parts: an answer says how far it came.
    long = "x" * 1_000_000

    def long_run(node: int) -> LoggedRun:
        line = LogLine(float(node), node, 1, 0, "stdout", "fit", long)
        return LoggedRun(node, 1, float(node), float(node), lambda: [line], has_failed=False)

    part = log_page(map(long_run, range(100)), LogQuery(text="y"), has_ended=True)
    assert (part.lines, part.more, place_of(part.reached)[1] < 100) == ([], True, True)
    assert not log_page(map(long_run, range(100)), LogQuery(kinds="failure"), has_ended=True).more


@pytest.mark.parametrize("text", ["", "1", "1,2,3", "x,1,2,3", "1,2,3,4,5"])
def test_what_is_no_place_is_refused(text: str) -> None:
    """By an error that the dispatcher passes on."""
    with pytest.raises(ValueError, match=r"place|convert|invalid"):
        place_of(text)
