"""How long functions take, learned from their runs. Pure."""

from __future__ import annotations

from covalab.core.model import Digest

_WEIGHT = 0.3


class Durations:
    """An exponentially weighted mean of seconds per function digest."""

    def __init__(self) -> None:
        self._means: dict[Digest, float] = {}

    def learn(self, function: Digest, seconds: float) -> None:
        """Take one run into account. A run much longer than the mean counts at once: guessing short costs balance."""
        mean = self._means.get(function)
        if mean is None or seconds > 4 * mean + 0.05:
            self._means[function] = seconds
        else:
            self._means[function] = mean + _WEIGHT * (seconds - mean)

    def mean(self, function: Digest) -> float | None:
        """Return the mean, or None for a function that never ran."""
        return self._means.get(function)
