"""Environment variables of this process: copied, replaced, and recorded while packages are imported."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final

from covalab.core.process_variables import ALL_NAMES

_TIME_ZONE: Final = b"TZ"
HASH_SEED: Final = b"PYTHONHASHSEED"
_WITHOUT_EFFECT: Final = frozenset({("TERM", "IPython.utils.terminal")})
"""Variables, and modules that read them when they are imported, to no effect in a task: for the title of a terminal."""


def current_variables() -> dict[bytes, bytes]:
    """Return a copy of the environment of this process."""
    # `dict(os.environb)` calls Python code for each name, which takes longer than all else done with it.
    return dict(os.environb._data)  # type: ignore[attr-defined] # noqa: SLF001


def variables_of_worker() -> dict[bytes, bytes]:
    """Return a copy of the environment that tasks get from this worker.

    It lacks the seed of hashes, which Dask sets for its workers: it has done its work when a process starts, and what
    reads it later would be other in a dispatch that has none.
    """
    found = current_variables()
    found.pop(HASH_SEED, None)
    return found


def set_variables(wanted: Mapping[bytes, bytes]) -> None:
    """Make the environment of this process, and of those that it starts, the one that is wanted."""
    now = current_variables()
    if now == wanted:
        return
    for name in now.keys() - wanted.keys():
        with suppress(OSError, ValueError):
            del os.environb[name]
    for name, value in wanted.items():
        if now.get(name) != value:
            with suppress(OSError, ValueError):  # a name that only another system allows
                os.environb[name] = value
    if now.get(_TIME_ZONE) != wanted.get(_TIME_ZONE):
        time.tzset()


def _reader() -> str:
    """Return the module that reads a variable."""
    frame = sys._getframe(2)  # noqa: SLF001 - there is no public way that costs as little
    while frame.f_back is not None and frame.f_globals.get("__name__") in ("os", "collections.abc"):
        frame = frame.f_back
    return str(frame.f_globals.get("__name__"))


class ImportVariables:
    """Names that were read (`ALL_NAMES` among them when all were), and variables that were set (None: deleted)."""

    def __init__(self) -> None:
        self.read: set[str] = set()
        self.changed: dict[bytes, bytes | None] = {}


@contextmanager
def recorded_variables() -> Iterator[ImportVariables]:
    """Record what happens to `os.environ` and `os.environb` meanwhile, in all threads.

    Their classes are exchanged, not they themselves: others hold references to them. What a C library reads is not
    seen; `core.process_variables.different_at_import` knows the usual names.
    """
    found = ImportVariables()
    before = current_variables()
    usual: Any = type(os.environ)

    class Recording(usual):  # type: ignore[misc]
        """Environment that records; `get`, ``in``, `pop` and `setdefault` all come here."""

        def __getitem__(self, key: Any) -> Any:
            name = os.fsdecode(key) if isinstance(key, str | bytes) else str(key)
            if (name, _reader()) not in _WITHOUT_EFFECT:
                found.read.add(name)
            return super().__getitem__(key)

        def __iter__(self) -> Iterator[Any]:
            found.read.add(ALL_NAMES)
            return super().__iter__()  # type: ignore[no-any-return]

    environments: tuple[Any, ...] = (os.environ, os.environb)
    for environment in environments:
        environment.__class__ = Recording
    try:
        yield found
    finally:
        for environment in environments:
            environment.__class__ = usual
        after = current_variables()
        names = before.keys() | after.keys()
        found.changed = {name: after.get(name) for name in names if before.get(name) != after.get(name)}
