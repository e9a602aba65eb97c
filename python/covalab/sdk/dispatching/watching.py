"""Waiting until the triggers of a dispatch watch: what happens before that, they do not see."""

from __future__ import annotations

import warnings
from typing import Final

from covalab.client import Client
from covalab.core.errors import DispatcherUnavailable

_LONGEST_SECONDS: Final = 30.0
"""Starting a process takes half a second, on a busy machine some; longer is a warning."""


def await_watching(client: Client, dispatch: str, *, stacklevel: int = 3) -> None:
    """Return when all triggers of a dispatch watch, or have failed; after half a minute with a warning.

    Parameters
    ----------
    client : Client
        The connection to the dispatcher.
    dispatch : str
        The dispatch.
    stacklevel : int, default 3
        As for `warnings.warn`; 3 is the caller of the function that calls this one.
    """
    try:
        states = client.triggers(dispatch, _LONGEST_SECONDS)
    except DispatcherUnavailable:  # what is recorded is kept, and the caller must get its id
        return
    starting = [state for state in states if state.state == "starting"]
    if starting:
        message = (
            f"{', '.join(sorted({state.name for state in starting}))} of dispatch {dispatch} does not watch yet, after "
            f"{_LONGEST_SECONDS:g} s; it misses what happens until its state is 'watching'"
        )
        warnings.warn(message, RuntimeWarning, stacklevel=stacklevel)
