"""Retries: whether and when a node that failed is run again. Pure: the random number is an argument."""

from __future__ import annotations

from typing import get_args

from covalab.core.model import ErrorType, Failure, RetryPolicy, Settings

ERROR_TYPES = frozenset(get_args(ErrorType))
"""The words that `retry_on` can name besides exception classes."""


def may_retry(settings: Settings, failure: Failure, n_failed: int) -> bool:
    """Whether a node is run again after its `n_failed`-th failure: at most ``retries + 1`` runs.

    Examples
    --------
    >>> broken = Failure("runtime", "no route to host", "ConnectionError", kinds=("ConnectionError", "OSError"))
    >>> may_retry(Settings(retries=2), broken, 2), may_retry(Settings(retries=2), broken, 3)
    (True, False)
    >>> only_memory = Settings(retries=2, retry=RetryPolicy(on=("MemoryError",)))
    >>> may_retry(only_memory, broken, 1)
    False
    """
    on = settings.retry.on
    return n_failed <= settings.retries and (failure.type in on or any(kind in on for kind in failure.kinds))


def delay_before(policy: RetryPolicy, n_failed: int, draw: float) -> float:
    """Return how many seconds to wait after the `n_failed`-th failure.

    ``min(delay * backoff ** (n_failed - 1), max_delay)``, times between ``1 - jitter`` and ``1 + jitter``, so that a
    hundred tasks that failed together do not come back together. With the defaults that is OmniQ's
    ``min(2 ** (n - 1), 60)`` s times 0.75 to 1.25.

    Parameters
    ----------
    policy
        The waiting times.
    n_failed
        How many runs have failed, from 1 on.
    draw
        A random number from 0 to 1.

    Examples
    --------
    >>> [delay_before(RetryPolicy(), n, 0.5) for n in (1, 2, 3, 10, 5000)]
    [1.0, 2.0, 4.0, 60.0, 60.0]
    >>> delay_before(RetryPolicy(), 1, 0.0), delay_before(RetryPolicy(), 1, 1.0)
    (0.75, 1.25)
    """
    try:
        seconds = min(policy.delay * policy.backoff ** (n_failed - 1), policy.max_delay)
    except OverflowError:
        seconds = policy.max_delay
    return seconds * (1 + policy.jitter * (2 * draw - 1))
