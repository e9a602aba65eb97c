"""Reservation: a worker of a pool that is kept for what others have gone before too often.

Pure. A node that needs many cores fits no worker as long as each core that becomes idle gets a smaller node at once. So
others go before it for some rounds; then one worker that could take it gets nothing else, and it begins there when what
runs there has ended.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)

PATIENCE: Final = 4
"""How many rounds go before a node: so many batches for each that a pool runs at once."""


class Reservation(Generic[K]):
    """Reservation of one worker of a pool.

    Attributes
    ----------
    holder
        What the worker is kept for; None: it is kept for nothing.
    worker
        The worker.
    """

    def __init__(self) -> None:
        self.holder: K | None = None
        self.worker = ""
        self._passed: dict[K, int] = {}

    def pass_over(self, blocked: Iterable[K], n_places: int) -> list[K]:
        """Count that a batch goes before what no idle worker takes; return what has waited long enough.

        Examples
        --------
        >>> line = Reservation[str]()
        >>> [line.pass_over(["large"], n_places=1) for _ in range(4)]
        [[], [], [], ['large']]
        """
        due: list[K] = []
        for key in blocked:
            self._passed[key] = self._passed.get(key, 0) + 1
            if self._passed[key] >= PATIENCE * max(1, n_places):
                due.append(key)
        return due

    def hold(self, key: K, worker: str) -> None:
        """Keep a worker for something."""
        self.holder, self.worker = key, worker

    def release(self) -> None:
        """Keep no worker."""
        self.holder, self.worker = None, ""

    def forget(self, key: K) -> None:
        """Forget how long something has waited: it begins, or is not wanted any more."""
        self._passed.pop(key, None)
        if key == self.holder:
            self.release()

    def known(self) -> list[K]:
        """Return what has been passed over and has not begun."""
        return [*self._passed]
