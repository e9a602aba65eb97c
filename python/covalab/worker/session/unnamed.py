"""Objects of the notebook that cells use without naming them: by printing, logging, annotating names, by `Out[2]`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from covalab.worker.outputs import history
from covalab.worker.session.record import ANNOTATIONS, HISTORY, STREAMS

_MAIN: Final = "__main__"
_OF_PYTHON: Final = "__annotations__"


def names_in_use(namespace: Mapping[str, Any]) -> set[str]:
    """Return the names whose objects are the streams of this process, or are held by its loggers; all, if code is.

    All, too, if code of the notebook is called without a name: for errors of NumPy, by a signal.
    """
    objects = [sys.stdout, sys.stderr, *_of_loggers()]
    if any(_MAIN in (type(one).__module__, getattr(one, "__module__", "")) for one in (*objects, *_called())):
        return {*namespace}
    ids = {*map(id, objects)}
    return {name for name, value in namespace.items() if id(value) in ids and value is not None}


def _called() -> Iterator[Any]:
    """Yield functions that the interpreter and libraries call on their own."""
    yield from (signal.getsignal(one) for one in signal.valid_signals())
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        yield numpy.geterrcall()


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


class Unnamed:
    """Part of a session that is stored beside its names: replaced streams, annotations, what cells have shown.

    Parameters
    ----------
    namespace
        The names of the session. What is stored is among them for that moment, because it may share objects with them.
    streams
        The replaced streams.
    """

    def __init__(self, namespace: dict[str, Any], streams: ReplacedStreams) -> None:
        self._namespace, self._streams = namespace, streams
        self._before: tuple[Any, ...] = ()

    @contextmanager
    def among_names(self, touched: set[str], *, with_history: bool = False) -> Iterator[None]:
        """Put it among the names; what is new or may have changed is added to `touched`."""
        found = {f":{name}:": stream for name, stream in self._streams.now.items()}
        if with_history:
            found |= {HISTORY + name: value for name, value in history.parts().items()}
        annotations = self._namespace.get(_OF_PYTHON)
        if annotations:
            found[ANNOTATIONS] = annotations
        if not found and not self._before:
            yield
            return
        items = annotations.items() if type(annotations) is dict else ()
        now = (*found.items(), *items)
        if not _is_same(now, self._before):
            touched.update(found)
        self._before = now
        self._namespace.update(found)
        try:
            yield
        finally:
            for name in found:
                self._namespace.pop(name, None)

    def take_out(self) -> None:
        """Put what was restored among the names where it belongs."""
        for name in STREAMS:
            if name in self._namespace:
                self._streams.put({**self._streams.now, name.strip(":"): self._namespace.pop(name)})
        if ANNOTATIONS in self._namespace:
            self._namespace[_OF_PYTHON] = self._namespace.pop(ANNOTATIONS)
        shown = [name for name in self._namespace if name.startswith(HISTORY)]
        history.put({name.removeprefix(HISTORY): self._namespace.pop(name) for name in shown}, self._namespace)


def _is_same(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    return len(one) == len(other) and all(
        name == known and value is before for (name, value), (known, before) in zip(one, other, strict=True)
    )


class ReplacedStreams:
    """Streams that a cell has put in place of this process's, and that are there for the cells after it."""

    def __init__(self) -> None:
        self._now: dict[str, Any] = {}

    @property
    def now(self) -> dict[str, Any]:
        """The streams by `stdout` and `stderr`."""
        return dict(self._now)

    def put(self, streams: Mapping[str, Any]) -> None:
        """Take others from here on."""
        self._now = dict(streams)

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
