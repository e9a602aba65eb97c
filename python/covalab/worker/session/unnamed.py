"""Objects of the notebook that cells use without naming them: by printing, or by logging."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

_MAIN: Final = "__main__"


def names_in_use(namespace: Mapping[str, Any]) -> set[str]:
    """Return the names whose objects are the streams of this process, or are held by its loggers; all, if code is."""
    objects = [sys.stdout, sys.stderr, *_of_loggers()]
    if any(type(one).__module__ == _MAIN for one in objects):  # it may change anything
        return {*namespace}
    ids = {*map(id, objects)}
    return {name for name, value in namespace.items() if id(value) in ids and value is not None}


def _of_loggers() -> Iterator[Any]:
    logging: Any = sys.modules.get("logging")
    if logging is None:
        return
    for logger in (logging.root, *list(logging.root.manager.loggerDict.values())):
        own = vars(logger)
        if not (own.get("handlers") or own.get("filters")):  # as nearly all of a hundred
            continue
        yield from logger.filters
        for handler in logger.handlers:
            yield handler
            yield from handler.filters
            yield getattr(handler, "stream", None)
            yield getattr(handler, "buffer", None)


class ReplacedStreams:
    """Streams that a cell has put in place of this process's, and that are there for the cells after it."""

    def __init__(self) -> None:
        self._now: dict[str, Any] = {}

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let them be the streams until the block ends; the process takes its own again after each cell."""
        own = {name: getattr(sys, name) for name in _STREAMS}
        for name, stream in self._now.items():
            setattr(sys, name, stream)
        try:
            yield
        finally:
            now = {name: getattr(sys, name, None) for name in _STREAMS}
            self._now = {name: stream for name, stream in now.items() if stream is not own[name]}


_STREAMS: Final = ("stdout", "stderr")
