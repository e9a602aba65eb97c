"""`TimeTrigger`: at a fixed interval."""

from __future__ import annotations

import math
import threading

from covalab.triggers.base import BaseTrigger


class TimeTrigger(BaseTrigger):
    """Runs a workflow every `time_gap` seconds, first after one gap.

    Parameters
    ----------
    time_gap
        Seconds between two runs.
    lattice_dispatch_id, dispatcher_addr, triggers_server_addr
        See `BaseTrigger`.

    Raises
    ------
    ValueError
        If the gap is not a number above 0.

    Examples
    --------
    >>> TimeTrigger(3600).time_gap
    3600
    """

    def __init__(
        self,
        time_gap: float,
        lattice_dispatch_id: str | None = None,
        dispatcher_addr: str | None = None,
        triggers_server_addr: str | None = None,
    ) -> None:
        super().__init__(lattice_dispatch_id, dispatcher_addr, triggers_server_addr)
        if isinstance(time_gap, bool) or not isinstance(time_gap, int | float) or not 0 < time_gap < math.inf:
            message = f"time_gap is a number of seconds above 0, not {time_gap!r}"
            raise ValueError(message)
        self.time_gap = time_gap

    def observe(self) -> None:
        """Wait and fire until stopped."""
        self.stop_flag = threading.Event()
        while not self.stop_flag.wait(self.time_gap):
            self.trigger()

    def stop(self) -> None:
        """Stop watching."""
        if self.stop_flag is not None:
            self.stop_flag.set()
