"""Source files beside a notebook: read and scanned for imports once, and again only when they have changed.

Everything is found out by looking at folders and files; nothing is imported.
"""

from __future__ import annotations

import ast
import os
import time
from collections import OrderedDict
from collections.abc import Iterator
from typing import Final, NamedTuple, TypeVar

from covalab.sdk.code.imported_names import DOTTED, IMPORTS_BY_TEXT

_RECENT_SECONDS: Final = 2.0
"""A file that was changed so short a time ago may change again with no difference in its times."""
_FILES_KEPT: Final = 4_096
_LARGEST_SCANNED: Final = 1024**2
_GOES_THROUGH_PACKAGES: Final = IMPORTS_BY_TEXT | {"iter_modules", "walk_packages"}

_T = TypeVar("_T")
_Times = tuple[int, int, int, int]


class Import(NamedTuple):
    """One import: ``from ..module import names`` has level 2."""

    level: int
    module: str
    names: tuple[str, ...] = ()


class SourceFile(NamedTuple):
    """A module's file: its bytes, what it imports, and whether it may import any module of its own package."""

    source: bytes
    imports: tuple[Import, ...]
    imports_any: bool


class Folder(NamedTuple):
    """A folder: the names of everything in it, and whether packages were installed there (`pip install --target`)."""

    names: frozenset[str]
    has_packages: bool


class SourceFiles:
    """Files and folders that were looked at, with the times at which they were changed."""

    def __init__(self) -> None:
        self._files: OrderedDict[str, tuple[_Times, SourceFile]] = OrderedDict()
        self._folders: OrderedDict[str, tuple[_Times, Folder]] = OrderedDict()

    def read(self, path: str) -> SourceFile | None:
        """Return a file; None if it cannot be read. An unchanged file is the same object again."""
        try:
            times = _times(path)
            known = self._files.get(path)
            if known is not None and known[0] == times and not _is_recent(times):
                return known[1]
            with open(path, "rb") as file:
                source = file.read()
        except OSError:
            return None
        found = known[1] if known is not None and known[1].source == source else _scanned(source)
        _keep(self._files, path, (times, found))
        return found

    def folder(self, path: str) -> Folder:
        """Return a folder; one with nothing in it if there is none."""
        try:
            times = _times(path)
            known = self._folders.get(path)
            if known is not None and known[0] == times and not _is_recent(times):
                return known[1]
            names = frozenset(os.listdir(path))
        except OSError:
            return _EMPTY
        found = Folder(names, any(name.endswith(".dist-info") for name in names))
        _keep(self._folders, path, (times, found))
        return found


_EMPTY: Final = Folder(frozenset(), has_packages=False)


def _keep(kept: OrderedDict[str, tuple[_Times, _T]], path: str, found: tuple[_Times, _T]) -> None:
    kept[path] = found
    kept.move_to_end(path)
    if len(kept) > _FILES_KEPT:
        kept.popitem(last=False)


def _times(path: str) -> _Times:
    found = os.stat(path)
    # The time of the last change of its record, too: tools that copy files set the other one back.
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def _is_recent(times: _Times) -> bool:
    return time.time() - times[1] / 1e9 < _RECENT_SECONDS


def _scanned(source: bytes) -> SourceFile:
    if len(source) > _LARGEST_SCANNED:
        return SourceFile(source, (), imports_any=False)
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):  # the task that imports it fails as it would here
        return SourceFile(source, (), imports_any=False)
    imports = tuple(_imports_in(tree))
    goes_through = any(_name_of(node) in _GOES_THROUGH_PACKAGES for node in ast.walk(tree))
    if goes_through:
        texts = {
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        dotted = sorted(text for text in texts if DOTTED.fullmatch(text))
        imports += tuple(Import(len(text) - len(text.lstrip(".")), text.lstrip(".")) for text in dotted)
    return SourceFile(source, imports, goes_through)


def _imports_in(tree: ast.Module) -> Iterator[Import]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Import(0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield Import(node.level, node.module or "", tuple(alias.name for alias in node.names))


def _name_of(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    return node.attr if isinstance(node, ast.Attribute) else ""
