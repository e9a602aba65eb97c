"""Laws of retries: how often, after what, and how long between."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from covalab.core.model import Failure, RetryPolicy, Settings
from covalab.core.retries import ERROR_TYPES, delay_before, may_retry

BROKEN = Failure("runtime", "no", "ConnectionError", kinds=("ConnectionError", "OSError", "Exception"))


@pytest.mark.parametrize("retries", range(6))
def test_budgets_are_exact(retries: int) -> None:
    """N retries are at most N + 1 runs."""
    runs = 1
    while may_retry(Settings(retries=retries), BROKEN, runs):
        runs += 1

    assert runs == retries + 1


def test_a_thousand_delays_are_inside_the_documented_band() -> None:
    """From 0.75 to 1.25 of 1, 2, 4, ... 60 seconds, and they are spread over it."""
    seed = random.randrange(10**9)
    print(f"seed {seed}")
    draw = random.Random(seed)
    for n_failed in range(1, 11):
        middle = min(2 ** (n_failed - 1), 60)
        delays = [delay_before(RetryPolicy(), n_failed, draw.random()) for _ in range(100)]
        assert all(0.75 * middle <= delay <= 1.25 * middle for delay in delays)
        assert max(delays) - min(delays) > 0.25 * middle


@given(
    st.floats(0, 1e6), st.floats(1, 1e3), st.floats(0, 1e6), st.floats(0, 1), st.integers(1, 10_000), st.floats(0, 1)
)
def test_a_delay_is_never_negative_nor_beyond_the_longest(
    delay: float, backoff: float, longest: float, jitter: float, n_failed: int, draw: float
) -> None:
    """Whatever the policy, and however often it failed."""
    policy = RetryPolicy((), delay, backoff, longest, jitter)

    assert 0 <= delay_before(policy, n_failed, draw) <= longest * (1 + jitter)


@pytest.mark.parametrize(
    ("on", "expected"),
    [
        (("runtime",), True),
        (("timeout",), False),
        (("ConnectionError",), True),
        (("OSError",), True),
        (("ValueError",), False),
        (("ValueError", "OSError"), True),
        ((), False),
    ],
)
def test_only_what_was_listed_is_run_again(on: tuple[str, ...], expected: bool) -> None:
    """An error type, the exception's class, or one of its bases."""
    assert may_retry(Settings(retries=1, retry=RetryPolicy(on=on)), BROKEN, 1) is expected


def test_by_default_a_time_limit_is_not_tried_again() -> None:
    """It would take as long again; whoever wants that lists it."""
    assert not may_retry(Settings(retries=1), Failure("timeout", "too long"), 1)
    assert may_retry(Settings(retries=1, retry=RetryPolicy(on=("timeout",))), Failure("timeout", "too long"), 1)
    assert {"runtime", "timeout", "worker_lost", "deps"} <= ERROR_TYPES
