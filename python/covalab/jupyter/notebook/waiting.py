"""Waiting for names that a cell with `--run` is still making: the cell that needs them begins when they are there.

So "Run all" works. A cell also waits before it sets such a name, or draws from a random generator that the other cell
draws from: in the notebook it comes after it.
"""

from __future__ import annotations

import ast
import dis
import functools
import gc
import time
import types
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final, TypeGuard

from covalab.core.plain_types import ATOMS
from covalab.jupyter.cells.cell import kind_of, names_in_texts
from covalab.jupyter.cells.dataflow import Conflict, scan
from covalab.jupyter.cells.derived import changed_sources
from covalab.namespace.caches import CACHED
from covalab.namespace.definitions import globals_of
from covalab.worker.session.effects import lists_names, may_read, may_write, settings_set
from covalab.worker.session.packages_used import is_generator, may_draw, packages_used, settings_used
from covalab.worker.session.reach import codes_in, names_in, reached

WAIT: Final = "__covalab_wait__"
"""Name of the function in the notebook that a cell calls first, if it has to wait."""
RANDOM: Final = "the global random generators"
FILES: Final = "files"
ALL_NAMES: Final = "all names"
SETTINGS: Final = {
    "": "settings of the process",
    "matplotlib": "settings of matplotlib",
    "numpy": "settings of numpy",
    "pandas": "settings of pandas",
}
_NO_NAMES: Final = frozenset({RANDOM, FILES, ALL_NAMES, *SETTINGS.values()})
_NOT_ENTERED: Final = ATOMS | {type, types.ModuleType, types.CodeType, types.BuiltinFunctionType}
_MAIN: Final = "__main__"
_ASKS_FOR_CLASS: Final = frozenset({"type", "__class__", "__mro__", "__subclasses__", "__bases__"})
_OBJECTS_LIMIT: Final = 100_000
_SETS_GLOBAL: Final = frozenset({"STORE_GLOBAL", "DELETE_GLOBAL"})
_SETS_OUTER: Final = frozenset({"STORE_DEREF", "DELETE_DEREF"})
_TICK_SECONDS: Final = 0.1
_SHOWN_AFTER: Final = 0.5


def names_needed(tree: ast.Module, namespace: Mapping[str, Any]) -> set[str]:
    """Return the names that code reads, sets or deletes, those of the functions that it calls included.

    `RANDOM` is among them if it may use a global random generator, `FILES` if it may read files, `ALL_NAMES` if it may
    look at any name, and those of `SETTINGS` that packages which it has to do with may use.
    """
    try:
        scope = scan(tree.body)
    except Conflict:  # the cell will say so itself
        return set()
    read = {*scope.reads, *scope.changes, *names_in_texts(tree)}
    reads = reached(read, namespace)
    inside = [word for name in reads for word in names_in(namespace[name])]
    words = {*_words_of(tree, namespace), *inside, *read}
    packages = packages_used(tree, [namespace[name] for name in reads], inside)
    found = read | reads | scope.bindings.keys() | scope.deleted
    # A global that a function reads need not be there yet.
    found |= {one for name in reads for code in codes_in(namespace[name]) for one in globals_of(code)}
    found |= {SETTINGS[kind] for kind in settings_used(tree, packages)}
    if may_draw(tree, packages, words):
        found |= {RANDOM}
    if lists_names(tree):
        found |= {ALL_NAMES}
    return found | {FILES} if may_read(tree) else found


def _words_of(tree: ast.Module, namespace: Mapping[str, Any]) -> set[str]:
    """Return attributes, except those of a generator of the notebook's own, and what is imported from where."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.alias):
            found.add(node.name)
        elif isinstance(node, ast.Attribute) and not (
            isinstance(node.value, ast.Name) and is_generator(namespace.get(node.value.id))
        ):
            found.add(node.attr)
    return found


def names_changed(tree: ast.Module, namespace: Mapping[str, Any]) -> set[str]:
    """Return the names of the notebook whose values a cell may change in place without naming them as changed.

    Those are values that functions of the notebook reach, or are given, values that change when they are used
    (generators of numbers, iterators, objects of the notebook's classes), and values of which it changes what may be a
    part. `FILES` is among them if it may write files, those of `SETTINGS` that it may change.
    """
    mentioned = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} & namespace.keys()
    found = {name for name in reached(mentioned, namespace) if _changes_by_use(namespace[name])}
    through = reached([inner for name in mentioned for inner in names_in(namespace[name])], namespace)
    found |= {name for name in through if _can_change(namespace[name])}
    found |= {name for one in mentioned | through for code in codes_in(namespace[one]) for name in _globals_set(code)}
    found |= {name for node in ast.walk(tree) if isinstance(node, ast.Global) for name in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _is_of_notebook(node.func, namespace):
            arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
            inside = {part.id for one in arguments for part in ast.walk(one) if isinstance(part, ast.Name)}
            found |= {name for name in inside & namespace.keys() if _can_change(namespace[name])}
    found |= {name for name in changed_sources(tree) & namespace.keys() if _can_change(namespace[name])}
    found |= {SETTINGS[kind] for kind in settings_set(tree)}
    return found | {FILES} if may_write(tree) else found


def _globals_set(code: types.CodeType) -> set[str]:
    """Return the globals that code sets or deletes, also in functions inside it."""
    found = {str(one.argval) for one in dis.get_instructions(code) if one.opname in _SETS_GLOBAL}
    return found.union(*(_globals_set(one) for one in code.co_consts if isinstance(one, types.CodeType)))


def may_change_classes(tree: ast.Module, namespace: Mapping[str, Any]) -> bool:
    """Return whether a cell, or code of the notebook that it mentions, asks objects for their classes."""
    words = {node.id if isinstance(node, ast.Name) else node.attr for node in ast.walk(tree) if _is_word(node)}
    code = [inner for name in words & namespace.keys() for inner in names_in(namespace[name])]
    return not _ASKS_FOR_CLASS.isdisjoint([*words, *code])


def _is_word(node: ast.AST) -> TypeGuard[ast.Name | ast.Attribute]:
    return isinstance(node, (ast.Name, ast.Attribute))


def objects_in(values: Iterable[object], namespace: Mapping[str, Any], *, with_classes: bool = True) -> set[int]:
    """Return the ids of the objects that can be reached from values, up to a limit; code is not looked into.

    An object leads to its class, if that is the notebook's, unless `with_classes` is false. The namespace of the
    notebook, to which the shell's objects lead, is not looked into.
    """
    found = {id(namespace)}
    level = list(values)
    while level and len(found) < _OBJECTS_LIMIT:
        fresh = [one for one in level if id(one) not in found and (type(one) not in _NOT_ENTERED or _is_own_class(one))]
        found.update(map(id, fresh))
        bases = [getattr(one, "base", None) for one in fresh if type(one).__module__ == "numpy"]
        functions = [one for one in fresh if type(one) is types.FunctionType]
        held = [
            part for one in functions for part in (one.__closure__, one.__defaults__, one.__kwdefaults__, vars(one))
        ]
        others = [one for one in fresh if type(one) is not types.FunctionType]
        if with_classes:
            level = [*bases, *held, *gc.get_referents(*others)]
        else:
            own = [one for one in others if type(one).__module__ == _MAIN]
            inside = [part for one in own for part in gc.get_referents(one) if part is not type(one)]
            rest = [one for one in others if type(one).__module__ != _MAIN]
            level = [*bases, *held, *inside, *gc.get_referents(*rest)]
    return found - {id(namespace)}


def _is_own_class(value: object) -> bool:
    return isinstance(value, type) and value.__module__ == _MAIN


def _is_of_notebook(function: ast.expr, namespace: Mapping[str, Any]) -> bool:
    """Return whether a call is of a function, class or object that the notebook defines."""
    while isinstance(function, (ast.Attribute, ast.Subscript, ast.Call)):
        function = function.func if isinstance(function, ast.Call) else function.value
    return isinstance(function, ast.Name) and function.id in namespace and bool(codes_in(namespace[function.id]))


def _can_change(value: object) -> bool:
    return kind_of(value) == "data" and type(value) not in ATOMS


def _changes_by_use(value: object) -> bool:
    """Return whether a value, or one in it, changes where it is used: `[one.random() for one in generators]`."""
    return any(map(_changes_itself, _parts_of(value)))


def _parts_of(value: object) -> Iterator[object]:
    """Yield a value and what is in it, up to a depth and a number; code is not looked into."""
    level: list[object] = [value]
    seen = {id(value)}
    for _ in range(_PARTS_DEPTH):
        yield from level
        inside = (part for one in level for part in _directly_in(one))
        level = []
        for part in islice(inside, _PARTS_LIMIT):
            if type(part) not in _NOT_ENTERED and id(part) not in seen:
                seen.add(id(part))
                level.append(part)


def _directly_in(value: Any) -> Iterable[object]:
    kind = type(value)
    if issubclass(kind, dict):
        return list(dict.values(value))
    if kind in _COLLECTIONS:
        return list(value)
    attributes = None if issubclass(kind, (type, types.ModuleType, types.FunctionType)) else _attributes_of(value)
    return attributes.values() if type(attributes) is dict else ()


def _attributes_of(value: object) -> object:
    try:
        return object.__getattribute__(value, "__dict__")
    except AttributeError:
        return None


_COLLECTIONS: Final = (list, tuple, set, frozenset, deque)
_PARTS_DEPTH: Final = 4
_PARTS_LIMIT: Final = 1000


def _changes_itself(value: object) -> bool:
    kind = type(value)
    if is_generator(value) or any("__next__" in vars(base) for base in kind.__mro__):  # a mock would make one
        return True
    if isinstance(value, (types.MethodType, types.BuiltinFunctionType)):
        return not isinstance(value.__self__, (type, types.ModuleType)) and _can_change(value.__self__)
    if isinstance(value, functools.partial):
        return any(_changes_by_use(one) or _can_change(one) for one in (value.func, *value.args))
    if isinstance(value, (types.FunctionType, type, CACHED)):
        return value.__module__ == _MAIN and _keeps_something(value)
    return kind.__module__ == _MAIN and _can_change(value)


def _keeps_something(value: types.FunctionType | type | Any) -> bool:
    """Return whether a function keeps something from call to call, or a class has attributes that are data.

    A function does in its attributes, in variables around it that it sets, in objects that can change, in a cache.
    """
    if isinstance(value, CACHED):
        return True
    own = (one for name, one in vars(value).items() if not name.startswith("__"))
    if isinstance(value, type):
        return any(kind_of(one) == "data" for one in own)
    inside = [
        *(value.__defaults__ or ()),
        *(value.__kwdefaults__ or {}).values(),
        *(cell.cell_contents for cell in value.__closure__ or () if not _is_empty(cell)),
    ]
    return any(True for _ in own) or _rebinds(value.__code__) or any(map(_can_change, inside))


def _rebinds(code: types.CodeType, variables: Container[str] | None = None) -> bool:
    """Return whether a function sets a variable of the one around it, also in functions inside it."""
    outer = code.co_freevars if variables is None else variables
    is_set = any(one.opname in _SETS_OUTER and one.argval in outer for one in dis.get_instructions(code))
    return is_set or any(_rebinds(one, outer) for one in code.co_consts if isinstance(one, types.CodeType))


def _is_empty(cell: types.CellType) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - asking is the test
    except ValueError:
        return True
    return False


class WaitingTransformer(ast.NodeTransformer):
    """Rewriter of cells: one that needs names which are on their way first calls `WAIT`.

    Parameters
    ----------
    pending
        Returns those of some names that are on their way.
    namespace
        The namespace of the notebook.
    is_any
        Returns whether any name is.
    """

    def __init__(
        self,
        pending: Callable[[Iterable[str]], list[str]],
        namespace: Mapping[str, Any],
        is_any: Callable[[], bool] = lambda: True,
    ) -> None:
        self._pending, self._namespace, self._is_any = pending, namespace, is_any

    def visit_Module(self, node: ast.Module) -> ast.Module:
        """Add the call in front of the code, with the code: a function that arrives needs names of its own."""
        names = self._pending(names_needed(node, self._namespace)) if node.body and self._is_any() else []
        if names:
            call = ast.parse(f"{WAIT}({ast.unparse(node)!r})").body
            for part in ast.walk(call[0]):
                ast.copy_location(part, node.body[0])
            node.body[:0] = call
        return node


class WaitingLine:
    """Line below a cell that says for what it waits, and for how long it has.

    Parameters
    ----------
    show
        Shows a text; it is called with another one while the wait goes on.
    """

    def __init__(self, show: Callable[[str], None]) -> None:
        self._show = show

    def wait(self, names: Iterable[str], maker: str, is_done: Callable[[float], bool]) -> None:
        """Wait until `is_done`, which may take as long as it is given; the stop button ends the wait."""
        began = time.monotonic()
        listed = ", ".join(name if name in _NO_NAMES else f"`{name}`" for name in sorted(names))
        shown = -1
        while not is_done(_TICK_SECONDS):
            seconds = time.monotonic() - began
            if seconds > _SHOWN_AFTER and int(seconds) != shown:
                shown = int(seconds)
                self._show(f"waiting for {listed} from {maker}, {shown} s")
        if shown >= 0:
            self._show(f"waited {time.monotonic() - began:.1f} s for {listed} from {maker}")
