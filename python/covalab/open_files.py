"""Open files: how many this process may have, what tells one from another, and what to say when there are no more."""

from __future__ import annotations

import errno
import logging
import os
import resource
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import asyncio

SCARCE: Final = frozenset({errno.EMFILE, errno.ENFILE})
"""Numbers of errors that say that no more files can be opened; whoever waits may succeed."""

ENOUGH: Final = 1024
"""With so many a dispatcher serves hundreds of clients at once."""

_MOST: Final = 65_536  # some programs look at each number up to the limit
_LIMIT: Final = "COVALAB_OPEN_FILES"
_PAUSE_SECONDS: Final = 60.0
_before: int | None = None
_said_at: Final[dict[str, float]] = {}


def raise_limit() -> None:
    """Let this process open as many files as it may allow itself."""
    global _before  # noqa: PLW0603 - what this process began with
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        _before = soft


def limit_for_children() -> dict[str, str]:
    """Return the variable by which a process of ours that this one starts begins with the limit that was raised.

    Tasks run below it: they have the limit of the notebook, as programs that know no number above 1,023 need it.
    """
    return {} if _before is None else {_LIMIT: str(_before)}


def take_limit() -> None:
    """Take the limit that the process which started this one had before it raised its own."""
    text = os.environ.pop(_LIMIT, "")
    if text.isdecimal():
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        soft = int(text) if hard == resource.RLIM_INFINITY else min(int(text), hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def is_scarcity(error: BaseException | None) -> bool:
    """Whether an error says that no more files can be opened."""
    return isinstance(error, OSError) and error.errno in SCARCE


def are_scarce() -> bool:
    """Whether no file can be opened now; for libraries whose errors do not say why they could open none."""
    try:
        os.close(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return is_scarcity(error)
    return False


def explained(error: BaseException | None, otherwise: str) -> str:
    """Return why something failed: that no more files can be opened, with what to do, or what is to be said else."""
    return explain() if is_scarcity(error) else otherwise


def explain() -> str:
    """Return that no more files can be opened, and what to do."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return (
        f"too many open files: process {os.getpid()} may have {limit:,}, or the machine has no more; close what is not "
        "needed and try again, or raise the limit (`ulimit -n`) where that process is started from"
    )


def warn(log: logging.Logger, what: str) -> None:
    """Log what has to wait because no file can be opened: once a minute, however often it happens."""
    now = time.monotonic()
    if now - _said_at.get(what, -_PAUSE_SECONDS) >= _PAUSE_SECONDS:
        _said_at[what] = now
        log.warning("%s: %s", what, explain())


def handle_in(loop: asyncio.AbstractEventLoop, log: logging.Logger) -> None:
    """Let a loop warn where it can open no file, as for a connection; by itself it writes a traceback each time."""

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if is_scarcity(context.get("exception")):
            warn(log, "a connection waits")
        else:
            loop.default_exception_handler(context)

    loop.set_exception_handler(handle)


def identity(descriptor: int) -> tuple[int, int] | None:
    """Return what tells the file of a descriptor from all others; None if there is none."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return None
    return found.st_dev, found.st_ino
