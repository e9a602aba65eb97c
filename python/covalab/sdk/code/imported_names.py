"""Imported names: the modules that the code of some objects imports or refers to, found without running any of it.

Looks into the functions that travel by value: those of the notebook, and of modules beside it.
"""

from __future__ import annotations

import dis
import functools
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Final, NamedTuple, TypeAlias

from covalab.core.plain_types import ATOMS
from covalab.sdk.values import UserValue

IsLocal: TypeAlias = Callable[[str], bool]
"""Whether a top-level module is beside the notebook, or the notebook itself."""

IMPORTS_BY_TEXT: Final = frozenset({"import_module", "__import__"})
DOTTED: Final = re.compile(r"\.*[^\W\d]\w*(\.[^\W\d]\w*)*")
_IMPORT_NAME: Final = dis.opmap["IMPORT_NAME"]
_OBJECTS_LOOKED_AT: Final = 20_000
_ITEMS_LOOKED_AT: Final = 100  # of one container
_CONTAINERS: Final = (list, tuple, set, frozenset)
_STATEMENT: Final = re.compile(r"^[ \t]*(?:from[ \t]+([.\w]+)[ \t]+import\b|import[ \t]+([\w., \t]+))", re.MULTILINE)
_WORD: Final = re.compile(r"[^\W\d]\w*")
_PLAIN: Final = ("covalab.core.", "covalab.blobs", "covalab.sdk.building.transport_graph")
"""Modules of objects that hold nothing of the user's."""


class CodeNames(NamedTuple):
    """Names in a piece of code: what it imports, and all names that it uses, some of which may be submodules."""

    imported: frozenset[str]
    used: frozenset[str]
    package: str = ""  # relative to which it may import


@functools.lru_cache(maxsize=4096)
def names_in(code: CodeType) -> CodeNames:
    """Return the names in a piece of code and in all code inside it."""
    imported: set[str] = set()
    used = set(code.co_names)
    # Disassembling takes long; most functions import nothing.
    if _IMPORT_NAME in code.co_code[::2]:
        imported = {str(one.argval) for one in dis.get_instructions(code) if one.opcode == _IMPORT_NAME}
    if not IMPORTS_BY_TEXT.isdisjoint(used):
        imported |= {one for one in code.co_consts if isinstance(one, str) and DOTTED.fullmatch(one)}
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            found = names_in(inner)
            imported |= found.imported
            used |= found.used
    return CodeNames(frozenset(imported), frozenset(used))


def names_in_text(text: str) -> CodeNames:
    r"""Return the names in the text of a cell, which may be IPython's.

    Examples
    --------
    >>> sorted(names_in_text("%matplotlib inline\nimport a.b as c, d\nfrom .e import f").imported)
    ['.e', 'a.b', 'd']
    """
    imported: set[str] = set()
    for source, modules in _STATEMENT.findall(text):
        imported |= {source} if source else {one.split()[0] for one in modules.split(",") if one.strip()}
    return CodeNames(frozenset(imported), frozenset(_WORD.findall(text)))


def imported_names(objects: Iterable[UserValue], is_local: IsLocal) -> list[CodeNames]:
    """Return the names in everything that travels with some objects.

    Parameters
    ----------
    objects
        Functions, electrons, lattices, and their arguments.
    is_local
        Whether a top-level module travels by value.
    """
    walk = _Walk(is_local)
    walk.add(objects)
    walk.run()
    return walk.found


class _Walk:
    """Walk over objects, each once."""

    def __init__(self, is_local: IsLocal) -> None:
        self.found: list[CodeNames] = []
        self._is_local = functools.cache(is_local)
        self._todo: list[UserValue] = []
        self._seen: dict[int, UserValue] = {}  # kept alive, so that no other object gets an id meanwhile
        self._known: dict[type, Callable[[UserValue], None]] = {
            FunctionType: self._function,
            ModuleType: lambda module: self._module(module.__name__),
            MethodType: lambda method: self.add((method.__func__, method.__self__)),
            functools.partial: lambda one: self.add((one.func, one.args, one.keywords)),
            BuiltinFunctionType: lambda _: None,
            **dict.fromkeys(_CONTAINERS, lambda one: self.add(_first(one))),
            dict: lambda one: self.add(_first(one.values())),
            type: self._class,
        }

    def add(self, objects: Iterable[UserValue]) -> None:
        for one in objects:
            if type(one) not in ATOMS and id(one) not in self._seen:
                self._seen[id(one)] = one
                self._todo.append(one)

    def run(self) -> None:
        while self._todo:
            with suppress(Exception):  # looking at objects runs their code, such as that of a stand-in for another
                while self._todo and len(self._seen) < _OBJECTS_LOOKED_AT:
                    one = self._todo.pop()
                    self._known.get(type(one), self._instance)(one)
                return

    def _travels(self, module: object) -> bool:
        return isinstance(module, str) and self._is_local(module.partition(".")[0])

    def _module(self, name: str, used: frozenset[str] = frozenset()) -> None:
        if self._travels(name):
            self.found.append(CodeNames(frozenset({name}), used))

    def _function(self, function: FunctionType) -> None:
        # A wrapper that a library made is of the library, but the function in it is the user's.
        self.add(cell.cell_contents for cell in function.__closure__ or () if _is_filled(cell))
        self.add(vars(function).values())
        namespace = function.__globals__
        name = namespace.get("__name__")
        if not self._travels(name) and function.__module__ != "__main__":
            return
        names = names_in(function.__code__)
        package = namespace.get("__package__")
        self.found.append(names._replace(package=package if isinstance(package, str) else ""))
        self._module(str(name))
        self.add(function.__defaults__ or ())
        self.add((function.__kwdefaults__ or {}).values())
        for used in names.used:
            if used in namespace:
                value = namespace[used]
                if isinstance(value, ModuleType):
                    self._module(value.__name__, names.used)
                else:
                    self.add((value,))

    def _class(self, kind: type) -> None:
        for one in kind.__mro__:
            if self._travels(one.__module__):
                self._module(one.__module__)
                for value in list(vars(one).values()):
                    if isinstance(value, property):
                        self.add((value.fget, value.fset, value.fdel))
                    elif isinstance(value, staticmethod | classmethod):
                        self.add((value.__func__,))
                    else:
                        self.add((value,))

    def _instance(self, one: UserValue) -> None:
        if isinstance(one, type):  # of a metaclass
            self._class(one)
            return
        kind = type(one)
        module = kind.__module__
        is_ours = module.startswith("covalab.")
        if is_ours and module.startswith(_PLAIN):
            return
        if is_ours and isinstance(text := getattr(one, "__covalab_source__", None), str):  # a cell of a session
            self.found.append(names_in_text(text))
        if is_ours or self._travels(module):
            try:
                attributes = object.__getattribute__(one, "__dict__")
            except AttributeError:
                names: tuple[str, ...] = getattr(kind, "__struct_fields__", ())
                attributes = {name: getattr(one, name) for name in names}
            self.add(_first(attributes.values()))
        elif callable(one):  # of other packages' objects nothing is of the user's, but for what wraps a function
            with suppress(AttributeError):
                self.add((object.__getattribute__(one, "__wrapped__"),))
        if not is_ours:
            self.add((kind,))
            if isinstance(one, dict):  # of a class of its own
                self.add(_first(dict.values(one)))
            elif isinstance(one, _CONTAINERS):
                self.add(_first(one))


def _first(values: Iterable[UserValue]) -> Iterator[UserValue]:
    return islice(values, _ITEMS_LOOKED_AT)


def _is_filled(cell: UserValue) -> bool:
    try:
        cell.cell_contents  # noqa: B018 - the only way to know
    except ValueError:
        return False
    return True
