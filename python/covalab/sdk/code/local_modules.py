"""Local modules of a dispatch: the files beside the notebook that its code may import, as they are now.

Found without importing anything: the imports in the code that travels, and then those in the files themselves. They
travel together with that code, so tasks see no edit that comes later, and workers need no files.
"""

from __future__ import annotations

import os
import sys
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from importlib.machinery import EXTENSION_SUFFIXES
from typing import Final, NamedTuple

from covalab.blobs import Blobs, BlobStore
from covalab.core import local_modules
from covalab.core.codec import digest_of
from covalab.core.local_modules import SIZE_LIMIT, LocalModule, LocalModules
from covalab.core.model import Digest, Submission
from covalab.sdk.code.imported_names import CodeNames, imported_names
from covalab.sdk.code.modules import NEVER_BESIDE
from covalab.sdk.code.source_files import Folder, SourceFile, SourceFiles
from covalab.sdk.code.storing import store_bytes
from covalab.sdk.environment import usual_path
from covalab.sdk.values import UserValue
from covalab.worker.local_modules import finder
from covalab.worker.search_path import installed_in_place

_NOTEBOOK: Final = frozenset({"__main__", "__mp_main__"})
_ELSEWHERE: Final = frozenset(sys.stdlib_module_names) | frozenset(sys.builtin_module_names)
_PACKED_KEPT: Final = 16

_files: Final = SourceFiles()
_packed: Final[OrderedDict[tuple[object, ...], tuple[LocalModules, Digest, bytes]]] = OrderedDict()
"""What was packed last, by the modules in it: a thousand dispatches in a row pack it once."""


def store_local_modules(
    objects: Iterable[UserValue], blobs: Blobs, inline: dict[Digest, bytes], path: Iterable[str] | None = None
) -> Digest:
    """Store the local modules that some objects need, into `inline` or as a blob; return their digest, "" for none.

    Parameters
    ----------
    objects
        What travels: functions, electrons, lattices and their arguments.
    blobs, inline
        Where they go.
    path
        The search path of the process that will import them; that of this one, if not given.
    """
    found = _Search(sys.path if path is None else path).modules_of(objects)
    if not found:
        return Digest("")
    return store(found, blobs, inline)


def store(modules: LocalModules, blobs: Blobs, inline: dict[Digest, bytes]) -> Digest:
    """Store modules, into `inline` or as a blob; return their digest."""
    # By identity: a file that has not changed is the same bytes object as before, and `_packed` keeps it alive.
    key = tuple(sorted((name, id(module.source), module.path) for name, module in modules.items()))
    known = _packed.get(key)
    if known is None:
        data = local_modules.pack(modules)
        known = _packed[key] = (modules, digest_of([data]), data)
        if len(_packed) > _PACKED_KEPT:
            _packed.popitem(last=False)
    _, digest, data = known
    return store_bytes(data, blobs, inline, digest=digest)


def read_local_modules(submission: Submission, blobs: BlobStore) -> LocalModules:
    """Return the local modules of a submission."""
    digest = submission.local_modules
    if not digest:
        return {}
    return local_modules.unpack(blobs.code(digest, submission.code))


class _Place(NamedTuple):
    """Place of a module: its file (of a package ``__init__.py``; "": a namespace package) and its folders."""

    file: str
    folders: tuple[str, ...] = ()  # of a package


class _Search:
    """Search for local modules, at one moment."""

    def __init__(self, path: Iterable[str]) -> None:
        entries = [os.path.abspath(entry) for entry in path]
        usual = usual_path() | installed_in_place()
        self._places: dict[str, _Place | None] = {}
        self._folders: dict[str, Folder] = {}
        self._path = [
            (entry, entry not in usual and not self._folder(entry).has_packages) for entry in dict.fromkeys(entries)
        ]
        self._found: LocalModules = {}
        self._size = 0
        self._todo: list[str] = []

    def modules_of(self, objects: Iterable[UserValue]) -> LocalModules:
        """Return the local modules that objects need, with all that these need."""
        for names in imported_names(objects, self._is_local):
            self._todo.extend(self._candidates(names))
        while self._todo:
            name = self._todo.pop()
            if name not in self._found and name:
                self._add(name)
        return self._found

    def _is_local(self, top: str) -> bool:
        return top in _NOTEBOOK or self._place(top) is not None

    def _candidates(self, names: CodeNames) -> Iterator[str]:
        for imported in names.imported:
            bare = imported.lstrip(".")
            bases = [bare] if bare else []
            # Whether an import is a relative one is not looked at: both are found out to be there or not.
            if names.package:
                bases.append(f"{names.package}.{bare}".rstrip("."))
                bases.append(f"{names.package.rpartition('.')[0]}.{bare}".strip("."))
            for base in bases:
                place = self._place(base)
                yield base
                if place is not None and place.folders:
                    yield from (f"{base}.{used}" for used in names.used if self._place(f"{base}.{used}") is not None)

    def _add(self, name: str) -> None:
        """Add a module, the packages that it is in, and what they import."""
        self._todo.append(name.rpartition(".")[0])  # also of a module that there is not: it is imported first
        place = self._place(name)
        if place is None:
            return
        travelled = finder.modules.get(name)
        if travelled is not None:
            module, file = travelled, None  # this is a task: what it was sent counts, not what the file is now
        elif place.file:
            file = _files.read(place.file)
            if file is None or self._size + len(file.source) > SIZE_LIMIT:
                return
            self._size += len(file.source)
            module = LocalModule(os.fsencode(place.file), bool(place.folders), file.source)
        else:
            module, file = LocalModule(b"", is_package=True, folders=[os.fsencode(one) for one in place.folders]), None
        self._found[name] = module
        if travelled is not None:
            self._todo.extend(one for one in finder.modules if one not in self._found)
        if file is not None:
            self._todo.extend(self._imports_of(name, place, file))

    def _imports_of(self, name: str, place: _Place, file: SourceFile) -> Iterator[str]:
        package = name if place.folders else name.rpartition(".")[0]
        for one in file.imports:
            base = one.module
            if one.level:
                parts = package.split(".")
                above = parts[: len(parts) - one.level + 1]
                base = ".".join([*above, *([one.module] if one.module else [])])
            if not base or self._place(base) is None:
                continue
            yield base
            for imported in one.names:
                yield from self._inside(base) if imported == "*" else (f"{base}.{imported}",)
        if file.imports_any and package:
            yield from self._inside(package)

    def _inside(self, package: str) -> Iterator[str]:
        """Yield the modules that lie in a package."""
        place = self._place(package)
        for folder in place.folders if place is not None else ():
            for entry in self._entries(folder):
                stem = entry.removesuffix(".py")
                is_package = stem == entry and "." not in entry and "__init__.py" in self._entries(f"{folder}/{entry}")
                if stem.isidentifier() and stem != "__init__" and (is_package or stem != entry):
                    yield f"{package}.{stem}"

    # -- places -----------------------------------------------------------------------------------------------------

    def _place(self, name: str) -> _Place | None:
        """Return the place of a module; None: it is not local, or not written in Python."""
        if name not in self._places:
            self._places[name] = self._travelled(name) or self._looked_up(name)
        return self._places[name]

    @staticmethod
    def _travelled(name: str) -> _Place | None:
        module = finder.modules.get(name)
        if module is None:
            return None
        file = os.fsdecode(module.path)
        folders = [os.path.dirname(file)] if module.source is not None else map(os.fsdecode, module.folders)
        return _Place(file, tuple(folders) if module.is_package else ())

    def _looked_up(self, name: str) -> _Place | None:
        parent, _, last = name.rpartition(".")
        if not last.isidentifier():
            return None
        if parent:
            around = self._place(parent)
            return self._in_folders([(folder, True) for folder in around.folders], last) if around else None
        if name in _ELSEWHERE or name in NEVER_BESIDE:
            return None
        if not any(is_local and self._may_have(folder, name) for folder, is_local in self._path):
            return None
        return self._in_folders(self._path, name)

    def _in_folders(self, folders: Iterable[tuple[str, bool]], name: str) -> _Place | None:
        """Look for a module in folders as the import system does, by the names in them."""
        portions: list[str] = []
        is_shared = False
        for folder, is_local in folders:
            entries = self._entries(folder)
            inner = os.path.join(folder, name)
            if name in entries and "__init__.py" in self._entries(inner):
                return _Place(os.path.join(inner, "__init__.py"), (inner,)) if is_local else None
            if any(name + suffix in entries for suffix in EXTENSION_SUFFIXES):
                return None
            if f"{name}.py" in entries:
                return _Place(f"{inner}.py") if is_local else None
            if name in entries and os.path.isdir(inner):
                portions.append(inner)
                is_shared = is_shared or not is_local  # a namespace package with installed parts is found as ever
        return _Place("", tuple(portions)) if portions and not is_shared else None

    def _may_have(self, folder: str, name: str) -> bool:
        entries = self._entries(folder)
        return name in entries or f"{name}.py" in entries

    def _entries(self, folder: str) -> frozenset[str]:
        return self._folder(folder).names

    def _folder(self, folder: str) -> Folder:
        found = self._folders.get(folder)
        if found is None:
            found = self._folders[folder] = _files.folder(folder)
        return found
