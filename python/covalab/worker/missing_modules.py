"""Local modules of a dispatch, for a process that opens its values and does not find them: another folder, a later day.

Only what nothing else finds is taken from there, and only while a value is opened.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Final

from covalab.core.errors import CovalabError
from covalab.core.local_modules import LocalModules
from covalab.worker.local_modules import spec_of


class MissingModules(MetaPathFinder):
    """Finder of last resort: the modules that travelled with the dispatches whose values are opened now."""

    def __init__(self) -> None:
        self._sources: list[Callable[[], LocalModules]] = []
        self._is_asking = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the specification of a module that one of the dispatches has."""
        del path, target
        if self._is_asking:  # it is asked for what it imports itself
            return None
        for source in reversed([*self._sources]):
            modules: LocalModules = {}
            self._is_asking = True
            try:
                with suppress(CovalabError):  # the value itself says what is wrong
                    modules = source()
            finally:
                self._is_asking = False
            if fullname in modules:
                return spec_of(fullname, modules[fullname])
        return None

    @contextmanager
    def of(self, source: Callable[[], LocalModules]) -> Iterator[None]:
        """Serve the modules of a dispatch meanwhile; `source` reads them, when one is missing."""
        if self not in sys.meta_path:
            sys.meta_path.append(self)
        self._sources.append(source)
        try:
            yield
        finally:
            self._sources.remove(source)


missing_modules: Final = MissingModules()
"""The finder of this process."""
