"""Silence in ticks: of workers and pools until they are lost, of the dispatcher until callers are informed."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from covalab.core import silence
from covalab.core.silence import LIMIT_TICKS, PROBE_TICKS, REPORT_TICKS, Waiting, count_tick, lost, since_text


def lost_at(answers: Sequence[bool]) -> int | None:
    """Return the tick at which a process is lost that is watched and answers in these ticks; None: never."""
    silent: dict[str, int] = {}
    for tick, has_answered in enumerate(answers):
        silent = count_tick(silent, ["a"], {"a"} if has_answered else ())
        if lost(silent):
            return tick
    return None


@pytest.mark.parametrize(
    ("answers", "tick"),
    [
        ([False] * 100, LIMIT_TICKS),  # the first tick only begins the count
        ([True] * 5 + [False] * 100, 4 + LIMIT_TICKS),
        (([False] * (LIMIT_TICKS - 1) + [True]) * 20, None),  # slow, again and again
        (([True] + [False] * LIMIT_TICKS) * 2, LIMIT_TICKS),
        ([True, False] * 100, None),
        ([], None),
        # A night's sleep: not one tick passes in it, whatever the clock shows, and the first after it may be silent.
        ([True] * 3 + [False] * 2 + [True] * 3, None),
    ],
)
def test_a_process_is_lost_after_the_limit_without_an_answer(answers: Sequence[bool], tick: int | None) -> None:
    """One answer within the limit is enough."""
    assert lost_at(answers) == tick


def test_each_process_has_its_own_count() -> None:
    """Those that are no longer watched are forgotten, and begin anew."""
    silent: dict[str, int] = {}
    for _ in range(LIMIT_TICKS):
        silent = count_tick(silent, ["a", "b"], {"b"})
    silent = count_tick(silent, ["a", "b", "c"], {"b"})
    assert lost(silent) == ["a"]
    silent = count_tick(silent, ["b", "c"], {"b"})
    assert silent == {"b": 0, "c": 1}
    assert count_tick(silent, ["a", "c"], ()) == {"a": 0, "c": 2}


def after(signs: Sequence[bool]) -> Waiting:
    """Return a request after ticks with and without a sign of life."""
    waiting = Waiting()
    for heard in signs:
        waiting = waiting.after_tick(heard=heard)
    return waiting


def test_a_caller_probes_then_informs() -> None:
    """A sign of life begins the count anew; a request that is not answered itself is slow."""
    assert not after([False] * (PROBE_TICKS - 1)).wants_probe
    assert after([False] * PROBE_TICKS).wants_probe
    assert not after([False] * (REPORT_TICKS - 1)).is_silent
    assert after([False] * REPORT_TICKS).is_silent
    assert not after([False] * REPORT_TICKS).is_slow
    assert not after([False] * REPORT_TICKS + [True]).is_silent
    assert after([False, False, False, True] * 3).is_slow
    assert not after([False] * 50 + [True] * (REPORT_TICKS - 1)).is_slow, "the silence does not count"
    assert not after([True] * (REPORT_TICKS - 1)).is_slow


@pytest.mark.parametrize(
    ("signs", "past", "gives_up"),
    [
        ([False] * 100, -0.1, False),
        ([False] * 100, 0.0, True),
        ([False] * 5, 0.0, False),  # it may only be late
        ([False] * 6, 0.0, True),
        ([True] * 100, 0.1, False),
        ([True] * 100, 9.0, False),
        ([True] * 100, 10.0, True),  # it answers others, but not this
    ],
)
def test_a_caller_gives_up_at_its_deadline(signs: Sequence[bool], past: float, gives_up: bool) -> None:
    """At once if nothing was heard for a while, else a little later."""
    assert after(signs).gives_up(past) == gives_up


def test_a_caller_is_informed_after_five_seconds() -> None:
    """Ticks and their number belong together."""
    assert REPORT_TICKS * silence.CALLER_TICK_SECONDS == 5


def test_the_time_of_a_silence_has_a_date_unless_it_is_today() -> None:
    """A page that was left open over night says which day."""
    assert len(since_text(1e9, 1e9 + 1)) == len("12:00:05")
    assert len(since_text(1e9, 1e9 + 86_400)) == len("2001-09-09 12:00:05")
