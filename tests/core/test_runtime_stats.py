"""What is learned about how long functions take."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from covalab.core.model import Digest
from covalab.core.runtime_stats import RuntimeStats

F, G = Digest("f" * 64), Digest("a" * 64)


def test_a_function_that_never_ran_is_unknown() -> None:
    """Unknown is not zero: nobody may take it for quick."""
    durations = RuntimeStats()
    durations.learn(G, 1.0)

    assert durations.mean(F) is None


def test_the_first_run_is_the_mean() -> None:
    """There is nothing better to go by."""
    durations = RuntimeStats()
    durations.learn(F, 2.0)

    assert durations.mean(F) == 2.0


@given(st.lists(st.floats(0, 1e5), min_size=1))
def test_the_mean_lies_between_the_shortest_and_the_longest_run(runs: list[float]) -> None:
    """Whatever the order of the runs."""
    durations = RuntimeStats()
    for seconds in runs:
        durations.learn(F, seconds)
    mean = durations.mean(F)

    assert mean is not None
    assert min(runs) * (1 - 1e-9) <= mean <= max(runs) * (1 + 1e-9)


def test_a_run_that_is_much_longer_counts_at_once() -> None:
    """Guessing too short puts many long tasks into one batch."""
    durations = RuntimeStats()
    for _ in range(100):
        durations.learn(F, 0.001)
    durations.learn(F, 10.0)

    assert durations.mean(F) == 10.0


def test_one_short_run_does_not_make_a_long_function_quick() -> None:
    """Shortness must show again and again."""
    durations = RuntimeStats()
    durations.learn(F, 10.0)
    durations.learn(F, 0.0)
    assert durations.mean(F) == pytest.approx(7.0)
    for _ in range(30):
        durations.learn(F, 0.0)

    assert durations.mean(F) == pytest.approx(0.0, abs=0.001)


def test_what_was_learned_is_told_once_and_outlives_a_restart() -> None:
    """Only a change worth writing down is news; what another life learned counts until this one knows better."""
    durations = RuntimeStats()
    durations.learn(F, 1.0)
    assert durations.take_changed() == {F: 1.0}
    durations.learn(F, 1.1)
    assert durations.take_changed() == {}
    later = RuntimeStats()
    later.load({F: 1.0})
    assert later.mean(F) == 1.0
    later.learn(F, 9.0)
    later.load({F: 1.0})

    assert later.take_changed() == {F: 9.0}
    assert later.mean(F) == 9.0
