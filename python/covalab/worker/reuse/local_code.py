"""Local modules in this process: their text as it was imported, which of them code can reach, and their state."""

from __future__ import annotations

import ast
import functools
import os
import re
import sys
import types
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from covalab.core.codec import USERS_ERRORS, digest_of
from covalab.namespace.pickling import pickled
from covalab.worker.local_modules import finder
from covalab.worker.search_path import environment_path

_WORD: Final = re.compile(r"[^\W\d]\w*")
_CODE: Final = (types.FunctionType, types.BuiltinFunctionType, types.ModuleType, type, staticmethod, classmethod)
_OURS: Final = "covalab"


def loaded_local_modules() -> dict[str, types.ModuleType]:
    """Return the modules of this process that belong neither to Python nor to an installed package."""
    # There may be thousands, and this is asked several times for each cell.
    mark = len(sys.modules), next(reversed(sys.modules)), finder.digest
    if _Found.mark != mark:
        _Found.modules = {name: module for name, module in list(sys.modules.items()) if _is_local(name, module)}
        _Found.mark = mark
    return _Found.modules


class _Found:
    """The local modules, and what tells that they may be others now."""

    mark: tuple[int, str, str] = (0, "", "")
    modules: dict[str, types.ModuleType] = {}  # noqa: RUF012 - one for the process


_known: Final[dict[str, tuple[int, bool]]] = {}


def _is_local(name: str, module: object) -> bool:
    known = _known.get(name)
    if known is not None and known[0] == id(module):
        return known[1]
    found = name in finder.modules or _lies_beside(name, module)
    _known[name] = id(module), found
    return found


def _lies_beside(name: str, module: object) -> bool:
    if name.partition(".")[0] in (_OURS, "__main__", "__mp_main__"):
        return False
    file = getattr(module, "__file__", None)
    if not isinstance(file, str):
        return False
    return not file.startswith(installed_folders())


@functools.cache
def installed_folders() -> tuple[str, ...]:
    """Return the folders of the interpreter and of installed packages, with their last separator."""
    folders = {*environment_path(), os.path.join(sys.base_prefix, "lib")}
    return tuple(os.path.join(folder, "") for folder in {*folders, *map(os.path.realpath, folders)})


def place_of_module(name: str) -> str:
    """Return the file of a loaded module; empty if there is none."""
    file = getattr(sys.modules.get(name), "__file__", None)
    return file if isinstance(file, str) else ""


def source_of_module(name: str, place: str) -> bytes:
    """Return the text of a local module: as it travelled with the dispatch, or as its file has it."""
    travelled = finder.modules.get(name)
    if travelled is not None:
        return travelled.source or b""
    try:
        return Path(place).read_bytes() if place else b""
    except OSError:
        return b""


def digest_of_module(name: str, place: str) -> str:
    """Return the digest of the text of a local module; empty if there is none."""
    source = source_of_module(name, place)
    return digest_of([source]) if source or name in finder.modules else ""


def reached_modules(words: Iterable[str], names: Iterable[str]) -> set[str]:
    """Return the local modules that code can reach.

    Parameters
    ----------
    words
        The words in its text.
    names
        The modules of the values that it can reach.
    """
    local = loaded_local_modules()
    if not local:
        return set()
    by_word: dict[str, set[str]] = {}
    for name in local:
        for part in name.split("."):
            by_word.setdefault(part, set()).add(name)
    waiting = [name for name in names if name in local]
    waiting += [name for word in words if word in by_word for name in by_word[word]]
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        parts = name.split(".")
        waiting += [parent for n in range(1, len(parts)) if (parent := ".".join(parts[:n])) in local]
        text = source_of_module(name, place_of_module(name)).decode("utf-8", "replace")
        waiting += [other for word in {*_WORD.findall(text)} & by_word.keys() for other in by_word[word]]
    return found


def reached_parts(tree: ast.Module, identifiers: Collection[str], *, with_body: bool) -> Iterator[tuple[ast.AST, str]]:
    """Yield the functions and classes of a module that names in other code can mean, and those that they mean.

    With `with_body`, also the code that runs when the module is imported.
    """
    known = {node.name: node for node in tree.body if isinstance(node, _DEFINITIONS)}
    body = [node for node in tree.body if not isinstance(node, (*_DEFINITIONS, ast.Import, ast.ImportFrom))]
    waiting = [name for name in known if name in identifiers]
    if with_body:
        yield ast.Module(body, []), ""
        waiting += [name for node in body for name in _names_in(node) if name in known]
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            yield known[name], f".{name}"
            waiting += [other for other in _names_in(known[name]) if other in known]


_DEFINITIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def _names_in(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr


def state_of_module(module: types.ModuleType) -> str:
    """Return the digest of what a local module keeps: its data, and that of its classes."""
    values: dict[str, Any] = _data(vars(module))
    for name, value in list(vars(module).items()):
        if isinstance(value, type) and value.__module__ == module.__name__:
            values[f"{name}."] = _data(vars(value))
        elif isinstance(value, types.FunctionType) and (vars(value) or value.__defaults__):
            values[f"{name}()"] = (dict(vars(value)), value.__defaults__)
    pieces = []
    for name, value in sorted(values.items()):
        try:
            head, *buffers = pickled(value, {}).frames
            pieces += [name.encode(), head, *buffers]
        except USERS_ERRORS:
            pieces += [name.encode(), f"{type(value).__name__} {id(value)}".encode()]
    return digest_of(pieces)


def _data(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in values.items()
        if not (name.startswith("__") and name.endswith("__")) and not isinstance(value, (*_CODE, property))
    }
