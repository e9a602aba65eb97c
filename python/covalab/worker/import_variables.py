"""Recorder of the environment variables that Python code reads and changes while it is imported."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from covalab.core.process_variables import ALL_NAMES


class ImportVariables:
    """Names that were read (`ALL_NAMES` among them when all were), and variables that were set (None: deleted)."""

    def __init__(self) -> None:
        self.read: set[str] = set()
        self.changed: dict[bytes, bytes | None] = {}


@contextmanager
def recorded_variables() -> Iterator[ImportVariables]:
    """Record what happens to `os.environ` and `os.environb` meanwhile, in all threads.

    Their classes are exchanged, not they themselves: others hold references to them. What a C library reads is not
    seen; `core.process_variables.differs_at_import` knows the usual names.
    """
    found = ImportVariables()
    before = dict(os.environb)
    usual: Any = type(os.environ)

    class Recording(usual):  # type: ignore[misc]
        """Environment that records; `get`, ``in``, `pop` and `setdefault` all come here."""

        def __getitem__(self, key: Any) -> Any:
            found.read.add(os.fsdecode(key) if isinstance(key, str | bytes) else str(key))
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
        after = dict(os.environb)
        names = before.keys() | after.keys()
        found.changed = {name: after.get(name) for name in names if before.get(name) != after.get(name)}
