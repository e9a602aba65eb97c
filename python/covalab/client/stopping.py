"""Stopping: waits for the end of a dispatcher that was asked to end, and enforces it."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from covalab.client import paths
from covalab.client.launcher import Address, find, remove_address
from covalab.core import errors

ANSWER_SECONDS: Final = 5.0
"""The wait for the answer to a request that asks a dispatcher to end, or for its state."""
_END_SECONDS: Final = 15.0
"""The time that one takes that answered; it ends its pools first."""
_KILL_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.02


def end_process(folder: Path, address: Address, *, has_answered: bool) -> bool:
    """Wait until a dispatcher is gone, and kill it if it does not end. Return whether it was killed.

    What was committed is on the disk, and nothing else was ever reported as done: a kill loses nothing.

    Raises
    ------
    DispatcherError
        If it cannot be ended.
    """
    if has_answered and _wait_for_end(folder, address, _END_SECONDS):
        return False
    # One that was stopped by a signal ends as it should once it goes on.
    _send(address, signal.SIGCONT, signal.SIGTERM)
    if _wait_for_end(folder, address, _KILL_SECONDS):
        return False
    _send(address, signal.SIGKILL)
    if _wait_for_end(folder, address, _KILL_SECONDS):
        remove_address(folder, address)  # or a Jupyter server would start it again, as one that crashed
        return True
    message = (
        f"the dispatcher of {folder} (pid {address.pid}) does not end: it waits for its disk, or runs on another "
        f"machine, where `kill -9 {address.pid}` ends it; {paths.log_file(folder)} may say more"
    )
    raise errors.DispatcherError(message)


def _wait_for_end(folder: Path, address: Address, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        present = find(folder)
        if present is None or present.epoch != address.epoch:
            return True
        time.sleep(_POLL_SECONDS)
    return False


def _send(address: Address, *signals: signal.Signals) -> None:
    """Send signals to a dispatcher, if the process with its number is one: the folder may be another machine's."""
    import psutil  # noqa: PLC0415 - for a dispatcher that does not end, and nothing else

    with suppress(psutil.Error, OSError):
        if "covalab.dispatcher" in psutil.Process(address.pid).cmdline():
            for number in signals:
                os.kill(address.pid, number)
