"""The laws of a series, over histories of runs that last, fail, and find no dispatcher when they are due."""

from __future__ import annotations

import itertools
import math
from typing import Final, NamedTuple, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from covalab.core.duration_text import parse_duration
from covalab.core.errors import GraphError
from covalab.core.lifecycle import TERMINAL
from covalab.core.model import DispatchId, Schedule, Status
from covalab.core.schedule import after_end, after_start, checked_interval, checked_moment, is_waiting, run_id

MINUTE: Final = 60.0


class Lasting(NamedTuple):
    """A run: how late it began because no dispatcher was there, how long it took, and how it ended."""

    late: float
    seconds: float
    status: Status


runs = st.lists(
    st.builds(
        Lasting,
        st.sampled_from([0.0, 1.0, 1_000_000.0]),
        st.integers(0, 10_000).map(float),
        st.sampled_from(["completed", "failed"]),
    ),
    min_size=1,
    max_size=20,
)


def history(schedule: Schedule, lasting: list[Lasting]) -> list[tuple[float, float]]:
    """Return when each run of a series began and ended, by the rules."""
    found: list[tuple[float, float]] = []
    due: float | None = 0.0
    for run in lasting:
        assert due is not None
        start = due + run.late
        end = start + run.seconds
        found.append((start, end))
        from_start, from_end = after_start(schedule, start), after_end(schedule, end, run.status)
        assert (from_start is None) != (from_end is None), "the next run is recorded once"
        due = from_end if from_start is None else from_start
    return found


@given(runs, st.integers(1, 1_000))
def test_never_two_at_once_and_the_next_an_interval_after_the_end(lasting: list[Lasting], interval: int) -> None:
    """Whatever the outcome, and however late a run began."""
    found = history(Schedule(DispatchId("s"), float(interval)), lasting)

    for run, (_, end), (start, _) in zip(lasting[1:], found, found[1:], strict=False):
        assert start == end + interval + run.late


@given(runs, st.integers(1, 1_000))
def test_runs_that_may_overlap_begin_an_interval_after_the_start(lasting: list[Lasting], interval: int) -> None:
    """How long the one before takes does not matter."""
    found = history(Schedule(DispatchId("s"), float(interval), allow_overlap=True), lasting)

    for run, (before, _), (start, _) in zip(lasting[1:], found, found[1:], strict=False):
        assert start == before + interval + run.late


@given(st.booleans(), st.integers(0, 10**7), st.integers(1, 1_000))
def test_missed_runs_collapse_to_one(overlap: bool, outage: int, interval: int) -> None:
    """However long nobody was there, one run is due when somebody is, and the next not before another interval."""
    schedule = Schedule(DispatchId("s"), float(interval), allow_overlap=overlap)
    (start, _), (after, _) = history(
        schedule, [Lasting(float(outage), 0.0, "completed"), Lasting(0.0, 0.0, "completed")]
    )

    assert start == outage
    assert after == outage + interval


@given(st.booleans(), st.booleans(), st.sampled_from(get_args(Status)))
def test_nothing_follows_a_cancelled_run_nor_one_that_has_not_ended(
    overlap: bool, cancelled: bool, status: Status
) -> None:
    """Also when somebody wanted to cancel what had just completed."""
    schedule = Schedule(DispatchId("s"), MINUTE, allow_overlap=overlap)

    follows = after_end(schedule, 0.0, status, cancelled=cancelled) is not None
    assert follows == (not overlap and not cancelled and status in TERMINAL and status != "cancelled")
    assert after_end(None, 0.0, status) is None
    assert after_start(None, 0.0) is None


@given(st.text(min_size=1, max_size=50), st.integers(1, 1_000), st.integers(1, 1_000))
def test_a_run_has_one_id(series: str, one: int, other: int) -> None:
    """It follows from series and number; the first has that of the series."""
    assert (run_id(DispatchId(series), one) == run_id(DispatchId(series), other)) == (one == other)
    assert run_id(DispatchId(series), 1) == series


def test_ids_of_series_do_not_meet() -> None:
    """Neither do those of runs that are the first of another series."""
    firsts = [DispatchId(f"s{n}") for n in range(20)]
    ids = [run_id(first, number) for first, number in itertools.product(firsts, range(1, 20))]
    assert len(set(ids)) == len(ids)


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_a_checked_number_has_a_meaning(seconds: float) -> None:
    """An interval is above zero and passes; a moment has a date; everything else is refused."""
    try:
        assert 0 < checked_interval("here", seconds) == seconds < math.inf
    except GraphError:
        assert not 0 < seconds <= 100 * 366 * 86_400
    try:
        assert 0 <= checked_moment("here", seconds) == max(0, seconds)
    except GraphError:
        assert not seconds <= 253_402_300_799


@given(st.none() | st.floats(0, 1e9), st.floats(0, 1e9))
def test_what_waits_will_be_due(starts_at: float | None, now: float) -> None:
    """There is a moment from which on it waits no longer, and that is the one that was asked for."""
    assert is_waiting(starts_at, now) == (starts_at is not None and now < starts_at)
    assert starts_at is None or not is_waiting(starts_at, starts_at)


@pytest.mark.parametrize(
    "wrong", ["", "soon", "-1 h", "0", 0, -5, "3 fortnights", "1 h 2 min", math.nan, math.inf, True]
)
def test_what_is_no_length_of_time_is_refused(wrong: str | float) -> None:
    """The message says how to write one."""
    with pytest.raises(ValueError, match="12 h"):
        parse_duration(wrong)
