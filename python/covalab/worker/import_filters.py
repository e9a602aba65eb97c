"""Warning filters that packages add when they are imported: of packages imported beforehand, at the task's own import.

A stem imports what tasks of other dispatches needed. Without this, a task would have the filters of packages that it
does not use; and with none of them it would lack those of the packages that it does use.
"""

from __future__ import annotations

import builtins
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from operator import itemgetter
from types import FrameType
from typing import Any, Final


class _State:
    """Filters that wait for an import: by package, and which packages import which."""

    def __init__(self) -> None:
        self.waiting: dict[str, list[tuple[int, Any, bool]]] = {}
        self.imports: dict[str, set[str]] = {}
        self.kept: list[Any] = []


_state: Final = _State()
_LOOK_FIRST: Final = frozenset({"IPython.core.formatters"})
"""Modules that import a package for those who have imported it: where it is among the modules already."""
_OWN: Final = f"{__name__.partition('.')[0]}."
"""So do ours: random generators of NumPy are seeded at each task, also of one that never heard of NumPy."""


def keep_in(filters: list[Any]) -> None:
    """Name the list that they are put back to after a task: those of a package stay once it is imported."""
    _state.kept = filters


class _WaitingSpec(ModuleSpec):
    """Spec of a module with filters that wait. Python reads `_initializing` at every import of a module that it has."""

    @property
    def _initializing(self) -> bool:
        importer = str(sys._getframe(1).f_globals.get("__name__"))  # noqa: SLF001 - there is no public way
        if importer in _LOOK_FIRST or importer.startswith(_OWN):
            return False
        self.__class__ = ModuleSpec  # type: ignore[assignment] # once
        _apply(self.name.partition(".")[0])
        return bool(vars(self).get("_initializing"))

    @_initializing.setter
    def _initializing(self, value: bool) -> None:
        vars(self)["_initializing"] = value


def _apply(package: str) -> None:
    """Add the filters of a package and of all that it imports, in the order in which they were made."""
    found: set[str] = set()
    pending = [package]
    while pending:
        one = pending.pop()
        if one not in found:
            found.add(one)
            pending.extend(_state.imports.get(one, ()))
    added = sorted((entry for one in found for entry in _state.waiting.pop(one, ())), key=itemgetter(0))
    for _, item, append in added:
        for filters in (warnings.filters, _state.kept):
            if item not in filters:
                filters.insert(len(filters) if append else 0, item)  # type: ignore[union-attr] # it is a list
    if added:
        _mutated()


@contextmanager
def deferred() -> Iterator[None]:
    """Keep the filters that imports add meanwhile for the first import of the same packages after it."""
    if _add is None:
        yield  # another Python: filters are as the imports leave them
        return
    before = [*warnings.filters]
    made: list[tuple[str, Any, bool]] = []
    with _noted(made):
        yield
    # Others were made and taken back, as by `warnings.catch_warnings`.
    made = [entry for entry in made if entry[1] in warnings.filters and entry[1] not in before]
    for number, (package, item, append) in enumerate(made):
        _state.waiting.setdefault(package, []).append((number, item, append))
    waiting = [item for _, item, _ in made]
    warnings.filters[:] = [item for item in warnings.filters if item not in waiting]  # type: ignore[index]
    _mutated()
    if made:
        for module in list(sys.modules.values()):
            spec = getattr(module, "__spec__", None)
            if type(spec) is ModuleSpec and not _is_basic(spec.name):
                spec.__class__ = _WaitingSpec


@contextmanager
def _noted(made: list[tuple[str, Any, bool]]) -> Iterator[None]:
    """Note who adds which filter, and which package imports which."""
    import_ = builtins.__import__

    def add(*item: Any, append: bool) -> None:
        made.append((_caller(), item, append))
        _add(*item, append=append)

    def importing(name: str, *args: Any, **kwargs: Any) -> Any:
        names = args[0] if args else kwargs.get("globals")
        package = str((names or {}).get("__name__", "")).partition(".")[0]
        top = name.partition(".")[0]
        # The standard library imports for others (importlib) or what they are (pickle).
        if top and top != package and package not in _BASIC:
            _state.imports.setdefault(package, set()).add(top)
        return import_(name, *args, **kwargs)

    warnings._add_filter = add  # type: ignore[attr-defined] # noqa: SLF001
    builtins.__import__ = importing
    try:
        yield
    finally:
        warnings._add_filter = _add  # type: ignore[attr-defined] # noqa: SLF001
        builtins.__import__ = import_


def _caller() -> str:
    """Return the package whose code adds a filter."""
    frame: FrameType | None = sys._getframe(2)  # noqa: SLF001
    while frame is not None and _is_basic(str(frame.f_globals.get("__name__", ""))):
        frame = frame.f_back
    return "" if frame is None else str(frame.f_globals["__name__"]).partition(".")[0]


def _is_basic(name: str) -> bool:
    return name.partition(".")[0] in _BASIC


_BASIC: Final = frozenset({"covalab", "__main__", *sys.stdlib_module_names})
_mutated: Final[Callable[[], object]] = getattr(warnings, "_filters_mutated", bool)
_add: Final[Any] = getattr(warnings, "_add_filter", None)
