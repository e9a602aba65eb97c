"""Import finder for the modules below `covalent`, which are made of the rows of `covalab.compat.table`.

Only the package `covalent` is a file. Its `__path__`, and those of the packages below it, are entries that this finder
alone accepts. So it is asked only about modules of this package: an installed Covalent is never affected by it.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from importlib.abc import Loader, PathEntryFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Final

from covalab.compat import table

# An absolute path, so that Python's caches keep it, and no folder, so that Python's own finders refuse it.
_ENTRY: Final = f"{table.__file__}:"


class Door(ModuleType):
    """Module that has the names of another, and is that one when it is pickled."""

    def __getattr__(self, name: str) -> Any:
        target = table.DOORS[self.__name__]
        try:
            return getattr(importlib.import_module(target), name)
        except AttributeError as error:
            message = f"module {self.__name__!r} has no attribute {name!r} ({target} stands behind it: {error})"
            raise AttributeError(message) from error

    def __dir__(self) -> list[str]:
        return sorted({*self.__dict__, *dir(importlib.import_module(table.DOORS[self.__name__]))})

    def __reduce__(self) -> tuple[Any, ...]:
        return importlib.import_module, (table.DOORS[self.__name__],)


class TableFinder(PathEntryFinder):
    """Finder of the modules of one package; as an item of `sys.path_hooks` it refuses all entries but its own."""

    def __init__(self, entry: str) -> None:
        if not entry.startswith(_ENTRY):
            raise ImportError
        self.package = entry.removeprefix(_ENTRY)

    def find_spec(self, name: str, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return the spec of a module of the package, or None if the table has no such path."""
        if name not in table.PATHS or name.rpartition(".")[0] != self.package:
            return None
        spec = ModuleSpec(name, TableLoader(), origin=table.__file__, is_package=_is_package(name))
        spec.has_location = True  # `__file__` is the table
        if spec.submodule_search_locations is not None:
            spec.submodule_search_locations.append(_ENTRY + name)
        return spec

    def iter_modules(self, prefix: str = "") -> Iterator[tuple[str, bool]]:
        """Yield the name of each module of the package, and whether it is a package: called by `pkgutil`."""
        for path in sorted(table.PATHS):
            package, _, name = path.rpartition(".")
            if package == self.package:
                yield prefix + name, _is_package(path)


class TableLoader(Loader):
    """Loader that fills a module with the names in the table."""

    def exec_module(self, module: ModuleType) -> None:
        """Fill a module, or put another in its place."""
        path = module.__name__
        if path in table.ALIASES:
            sys.modules[path] = importlib.import_module(table.ALIASES[path])
            return
        module.__doc__ = f"Covalent's module `{path}`, as listed in `covalab.compat.table`."
        if path in table.DOORS:
            module.__class__ = Door  # not earlier: Python would take `__path__` and `__file__` of the other module
            return
        found = dict(table.VALUES.get(path, {}))
        for home, names in table.NAMES.get(path, {}).items():
            for name in filter(None, names.split(", ")):
                original, _, alias = name.partition(" as ")
                # Like `from home import original`, which also imports a submodule.
                found[alias or original] = getattr(__import__(home, fromlist=[original]), original)
        module.__dict__.update(found, __all__=sorted(found))


def open_package(name: str) -> None:
    """Let the module `name`, which is being imported from its file, have its names and submodules by the table."""
    module = sys.modules[name]
    module.__class__ = Door
    module.__path__[:] = [_ENTRY + name]
    if TableFinder not in sys.path_hooks:
        sys.path_hooks.append(TableFinder)


def close() -> None:
    """Remove the finder from the import system."""
    if TableFinder in sys.path_hooks:
        sys.path_hooks.remove(TableFinder)
    for entry in [entry for entry in sys.path_importer_cache if entry.startswith(_ENTRY)]:
        del sys.path_importer_cache[entry]


def _is_package(path: str) -> bool:
    return any(other.startswith(f"{path}.") for other in table.PATHS)
