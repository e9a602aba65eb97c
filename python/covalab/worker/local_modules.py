"""Local modules in a task: imported from what travelled with the dispatch, not from files that may have changed.

In a session a module whose file changes while it lives is imported from there: `%%writefile helper.py`, then `reload`.

What travelled has the place of its file: tracebacks, `inspect` and data files beside a module work as in the notebook.
A process that an import system of its own starts (`multiprocessing` with spawn or forkserver) reads the files.
"""

from __future__ import annotations

import importlib
import linecache
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec, SourceFileLoader
from importlib.util import decode_source, spec_from_file_location
from types import CodeType, ModuleType
from typing import TypeAlias

from covalab.core.local_modules import LocalModule, LocalModules

_State: TypeAlias = "tuple[int, int] | None"


class _SnapshotLoader(SourceFileLoader):
    """Loader of one module: the code of the snapshot, every other file from where it lies. Reads no byte code."""

    has_travelled = True

    def __init__(self, fullname: str, path: str, source: bytes) -> None:
        super().__init__(fullname, path)
        self._source = source

    def get_data(self, path: str) -> bytes:
        """Return a file; the module's own as it was at the dispatch."""
        return self._source if path == self.path else super().get_data(path)

    def get_code(self, fullname: str) -> CodeType:
        """Compile the module. Never from ``__pycache__``, which is of the file, and never into it."""
        return self.source_to_code(self._source, self.path)

    def exec_module(self, module: ModuleType) -> None:
        """Run the module, after giving tracebacks its text: they would look into the file."""
        try:
            text = decode_source(self._source)
        except (SyntaxError, UnicodeDecodeError):
            text = ""  # compiling it says so
        # No time of change: `linecache.checkcache` then keeps it, whatever happens to the file.
        linecache.cache[self.path] = (len(text), None, text.splitlines(keepends=True), self.path)
        super().exec_module(module)


class _Folder:
    """Path entry finder of a package whose folder this machine does not have, so that `pkgutil` finds its modules."""

    def __init__(self, package: str, finder: LocalModulesFinder) -> None:
        self._package = package
        self._finder = finder

    def find_spec(self, fullname: str, target: ModuleType | None = None) -> ModuleSpec | None:
        """Find nothing that the finder does not find, which is asked before."""
        del target
        return self._finder.find_spec(fullname)

    def iter_modules(self, prefix: str = "") -> Iterator[tuple[str, bool]]:
        """Yield the modules of the package, as `pkgutil.iter_modules` wants them."""
        for name, module in self._finder.modules.items():
            parent, _, last = name.rpartition(".")
            if parent == self._package:
                yield prefix + last, module.is_package


class LocalModulesFinder(MetaPathFinder):
    """Finder of the modules of the dispatch that this process serves.

    Attributes
    ----------
    digest
        The digest of what travelled; empty for nothing.
    modules
        What travelled.
    """

    def __init__(self) -> None:
        self.digest = ""
        self.modules: LocalModules = {}
        self._roots: tuple[str, ...] = ()
        self._own_modules: frozenset[str] = frozenset()
        self._states: dict[str, _State] | None = None

    def follow_files(self) -> None:
        """Import a module from its file if that changes from now on: a cell may write what a later one imports."""
        self._states = {name: _state_of(module) for name, module in self.modules.items()}

    def _drop_if_written(self, name: str) -> None:
        if (
            self._states is not None
            and name in self.modules
            and _state_of(self.modules[name]) != self._states.get(name)
        ):
            del self.modules[name]
            importlib.invalidate_caches()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the specification of a module that travelled."""
        del path, target
        self._drop_if_written(fullname)
        module = self.modules.get(fullname)
        return None if module is None else spec_of(fullname, module)

    def enter(self, digest: str, modules: Mapping[str, LocalModule], roots: Sequence[str]) -> None:
        """Serve other modules from now on, and forget local modules that were loaded before.

        Parameters
        ----------
        digest, modules
            What travelled with the dispatch, and its digest.
        roots
            The entries of `sys.path` that are not the environment's: what was loaded from there is local, too.
        """
        if not sys.meta_path or sys.meta_path[0] is not self:  # a task may have put its own before
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            sys.meta_path.insert(0, self)
        # At the rehearsal, so that forks find them.
        self._own_modules = self._own_modules or frozenset(name.partition(".")[0] for name in sys.modules)
        if (digest, *roots) == (self.digest, *self._roots):
            return
        if self.digest or self._roots:
            self._forget()
        self.digest, self.modules, self._roots, self._states = digest, dict(modules), tuple(roots), None
        for folder in roots:
            if sys.path_importer_cache.get(folder, self) is None:  # it was not there when the stem looked
                del sys.path_importer_cache[folder]
        for name, module in self.modules.items():
            folder = os.path.dirname(os.fsdecode(module.path))
            if module.is_package and module.source is not None and not os.path.isdir(folder):
                sys.path_importer_cache[folder] = _Folder(name, self)

    def _forget(self) -> None:
        """Remove the local modules from `sys.modules`, with what tracebacks and `pkgutil` know of them."""
        loaded: dict[str, list[ModuleType]] = {}
        for name, module in list(sys.modules.items()):
            loaded.setdefault(name.partition(".")[0], []).append(module)
        local = {top for top, modules in loaded.items() if self._is_local(top, modules)}
        for name in [name for name in sys.modules if name.partition(".")[0] in local]:
            del sys.modules[name]
        for one in self.modules.values():
            linecache.cache.pop(os.fsdecode(one.path), None)
        for folder, entry in list(sys.path_importer_cache.items()):
            if isinstance(entry, _Folder):
                del sys.path_importer_cache[folder]
        importlib.invalidate_caches()

    def _is_local(self, top: str, modules: list[ModuleType]) -> bool:
        """Whether a top-level module is local; `modules` are it and its submodules, as far as they are loaded."""
        specs = [getattr(module, "__spec__", None) for module in modules]
        if any(isinstance(getattr(spec, "loader", None), _SnapshotLoader) for spec in specs):
            return True
        # What the process needs itself may lie in a folder of the notebook, too; C code cannot be loaded twice.
        if top in self._own_modules or any(_is_compiled(spec) for spec in specs):
            return False
        return any(_root_of(module) in self._roots for module in modules if module.__name__ == top)


def spec_of(fullname: str, module: LocalModule) -> ModuleSpec | None:
    """Return the specification of a module as it travelled."""
    if module.source is None:
        spec = ModuleSpec(fullname, None, is_package=True)
        spec.submodule_search_locations = [os.fsdecode(folder) for folder in module.folders]
        return spec
    file = os.fsdecode(module.path)
    return spec_from_file_location(
        fullname,
        file,
        loader=_SnapshotLoader(fullname, file, module.source),
        submodule_search_locations=[os.path.dirname(file)] if module.is_package else None,
    )


def _state_of(module: LocalModule) -> _State:
    """Return when the file of a module changed last, and its size; None if it is not here."""
    try:
        state = os.stat(os.fsdecode(module.path))
    except (OSError, ValueError):
        return None
    return state.st_mtime_ns, state.st_size


def _is_compiled(spec: ModuleSpec | None) -> bool:
    return str(getattr(spec, "origin", "")).endswith(tuple(EXTENSION_SUFFIXES))


def _root_of(module: ModuleType) -> str:
    """Return the entry of `sys.path` in which a top-level module was found."""
    folders = list(getattr(module, "__path__", ()))
    return os.path.dirname(str(folders[0] if folders else getattr(module, "__file__", None)))


finder = LocalModulesFinder()
"""The finder of this process. It serves nothing until a batch is entered."""
