"""Runtime statistics: mean durations of functions, learned from their runs. Pure."""

from __future__ import annotations

from covalab.core.model import Digest

_WEIGHT = 0.3  # of the newest run: ten runs forget an old mean


class RuntimeStats:
    """An exponentially weighted mean of seconds per function digest."""

    def __init__(self) -> None:
        self._means: dict[Digest, float] = {}
        self._kept: dict[Digest, float] = {}
        self._learned: set[Digest] = set()

    def load(self, means: dict[Digest, float]) -> None:
        """Load the means of an earlier process; those learned since are newer and stay."""
        self._means = means | self._means
        self._kept |= means

    def take_changed(self) -> dict[Digest, float]:
        """Return the means that changed by a quarter or more since they were last returned."""
        changed = {digest: mean for digest in self._learned if not self._is_kept(digest, mean := self._means[digest])}
        self._learned.clear()
        self._kept |= changed
        return changed

    def _is_kept(self, digest: Digest, mean: float) -> bool:
        kept = self._kept.get(digest)
        return kept is not None and abs(mean - kept) <= kept / 4

    def learn(self, function: Digest, seconds: float) -> None:
        """Learn the duration of one run. A much longer one replaces the mean: too short a guess costs balance."""
        self._learned.add(function)
        mean = self._means.get(function)
        if mean is None or seconds > 4 * mean + 0.05:
            self._means[function] = seconds
        else:
            self._means[function] = mean + _WEIGHT * (seconds - mean)

    def mean(self, function: Digest) -> float | None:
        """Return the mean, or None for a function that never ran."""
        return self._means.get(function)
