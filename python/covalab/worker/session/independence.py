"""Independence of a cell from cells before it that failed or were not run, shown before it runs.

A whole run of such a cell might have set names, changed values, settings, random generators, files and packages. A cell
that can depend on any of that is not run; what cannot be shown counts as dependent.
"""

from __future__ import annotations

import ast
import logging
import os
import sys
import types
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from covalab.core.plain_types import ATOMS
from covalab.namespace.covariables import Tracker
from covalab.namespace.definitions import tracked_definition
from covalab.namespace.sharing import can_change
from covalab.worker.reuse import local_code
from covalab.worker.session.cell_text import CellText
from covalab.worker.session.effects import lists_names, may_read, may_write, settings_set
from covalab.worker.session.harmless_uses import ASSUMED, Kind, changed_names
from covalab.worker.session.looking import Look
from covalab.worker.session.packages_used import may_draw, packages_used, settings_used
from covalab.worker.session.reach import names_in, reached
from covalab.worker.session.record import Broken, RecordState

_MAIN: Final = "__main__"
KNOWN: Final = frozenset(
    {
        *("IPython", "PIL", "matplotlib", "mpl_toolkits", "numpy", "numpy.random", "pandas", "scipy", "seaborn"),
        *("sklearn", "random", "tqdm", "tabulate", "dateutil", "pytz", "xarray"),
    }
)
"""Packages that keep nothing from one call to the next but settings, generators and what they are given."""

_OUTSIDE: Final = frozenset(
    {
        *("subprocess", "Popen", "system", "popen", "fork", "threading", "Thread", "ThreadPoolExecutor", "asyncio"),
        *("ProcessPoolExecutor", "multiprocessing", "Pool", "create_task", "requests", "httpx", "aiohttp", "urlopen"),
        *("urlretrieve", "socket", "ctypes", "cffi", "gc", "weakref", "memmap", "atexit", "signal", "settrace"),
        *("setprofile", "builtins", "get_ipython", "ipywidgets", "interact", "widgets", "connect", "stdout", "stderr"),
        *("create_engine", "mmap", "shared_memory", "joblib", "Parallel"),
    }
)
"""Names of what works beside the cell, or by ways that nobody sees."""
_FLAT: Final = frozenset(
    {"string", "empty", "boolean", "integer", "floating", "date", "datetime", "datetime64", "decimal", "timedelta"}
)
_ITEMS: Final = 1_000
_CODE: Final = (types.FunctionType, types.BuiltinFunctionType, types.ModuleType, type)
_SCOPES: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


class SessionNames:
    """Names of a session, and what is known about the objects that they share.

    Parameters
    ----------
    namespace
        The names.
    tracker
        The tracker of what they share.
    state
        The record of the cell before.
    """

    def __init__(self, namespace: Mapping[str, Any], tracker: Tracker, state: RecordState) -> None:
        self.namespace = namespace
        self._tracker = tracker
        self.unstorable = frozenset(state.snapshot.unstorable)
        self.broken = state.broken
        self._stored = state.snapshot.covariables

    def connected(self, names: Iterable[str]) -> set[str]:
        """Return names with all that share something with them, or that code in their values mentions."""
        found = {*names}
        while True:
            # A tracker in a process that has just restored the session has looked at nothing yet.
            mates = {name for one in self._stored if not found.isdisjoint(one.names) for name in one.names}
            more = self._tracker.connected(found | mates)
            if more <= found:
                return more
            found |= more

    def sharing(self, names: set[str]) -> set[str]:
        """Return names with all that share something, also by functions: `nonlocal` changes variables of several."""
        needed = self.definitions(names)
        by_code = {
            name for one in self._stored if not needed.isdisjoint((*one.definitions, *one.needs)) for name in one.names
        }
        return self.connected(names | by_code)

    def definitions(self, names: set[str]) -> set[str]:
        """Return the ids of the definitions that the values of names need."""
        by_tracker = {tracker: one for one in self._stored for tracker in one.definitions}
        pending = [one for one in self._stored if not names.isdisjoint(one.names)]
        found: set[str] = set()
        while pending:
            one = pending.pop()
            new = {*one.definitions, *one.needs} - found
            found |= new
            # A co-variable of definitions has all that share something.
            pending += [by_tracker[tracker] for tracker in new if tracker in by_tracker]
        return found


class Code:
    """Code of a cell, and all code that it reaches."""

    def __init__(self, cell: CellText, names: SessionNames) -> None:
        namespace = self._namespace = names.namespace
        look = self.look = Look(cell.text, cell.first_line, (), (), namespace, set())
        self.tree = look.trees[0] if look.trees else None
        used = {node.id for node in ast.walk(self.tree) if isinstance(node, ast.Name)} if self.tree else set()
        self.needs = cell.needs
        self.used = used | {*(cell.needs or ())}
        self.names = names.connected(reached(self.used, namespace))
        definitions = names.definitions(self.names)
        look.look_at_functions(self.names, definitions)
        code = [namespace[name] for name in self.names] + [tracked_definition(one, namespace) for one in definitions]
        self.inside = [word for one in code for word in names_in(one)]
        self.module = ast.Module(self._statements(look.trees), [])

    def _statements(self, trees: Sequence[ast.AST]) -> list[ast.stmt]:
        found: list[ast.stmt] = []
        for one in trees:
            if isinstance(one, ast.Module):
                found += one.body
            else:
                found.append(one if isinstance(one, ast.stmt) else ast.Expr(one))  # type: ignore[arg-type]
        return found

    @property
    def packages(self) -> set[str]:
        """The packages that it has to do with."""
        values = [self._namespace[name] for name in self.names if name in self._namespace]
        return packages_used(self.module, values, self.inside)

    @property
    def draws(self) -> bool:
        """Whether it may use a global random generator."""
        return may_draw(self.module, self.packages, self.look.identifiers | {*self.inside})

    @property
    def unclear(self) -> str:
        """Reason why it is unclear which names it has to do with, for people; empty if it is clear."""
        if self.tree is None:
            return "it is not Python alone"
        if self.look.uses_history:
            return "it reads what other cells have shown"
        if self.needs is None or self.look.is_dynamic or lists_names(self.module):
            return "it may use any name"
        return "" if self.look.is_known else "it uses functions whose text is not known"

    @property
    def names_set(self) -> set[str]:
        """The names of the notebook that it sets or deletes, also where it does not get to."""
        found = {name for one in ast.walk(self.module) if isinstance(one, ast.Global) for name in one.names}
        pending: list[ast.AST] = [] if self.tree is None else [self.tree]
        while pending:
            node = pending.pop()
            found |= _bound_by(node)
            if not isinstance(node, _SCOPES):
                pending += ast.iter_child_nodes(node)
        return found


def _bound_by(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Name):
        return set() if isinstance(node.ctx, ast.Load) else {node.id}
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.alias):
        return {node.asname or node.name.partition(".")[0]}
    if isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar):
        return {node.name} if node.name else set()
    return {node.rest} if isinstance(node, ast.MatchMapping) and node.rest else set()


def broken(number: int, cell: CellText, names: SessionNames, *, has_failed: bool) -> Broken:
    """Return what a whole run of a cell might have done that failed, or was not run."""
    return effects(number, cell, Code(cell, names), names, has_failed=has_failed)


def effects(number: int, cell: CellText, code: Code, names: SessionNames, *, has_failed: bool = False) -> Broken:
    """Return what a whole run of a cell may do, of which the code is known."""
    anything = code.unclear or beside(code, names)
    sets = {*cell.bound} | code.names_set
    if anything:
        return Broken(number, has_failed, sorted(sets), anything=anything)
    changes = roots_changed(code.module) | _values_changed(code, names.namespace)
    handlers = _handlers()
    changes |= _held_by(handlers, names.namespace)
    changes |= names.sharing(changes)
    if not names.unstorable.isdisjoint(changes):
        name = min(names.unstorable & changes)
        return Broken(number, has_failed, sorted(sets), anything=f"it may change `{name}`, which cannot be stored")
    packages = code.packages
    return Broken(
        number,
        has_failed,
        sorted(sets),
        sorted(changes),
        sorted(packages - KNOWN),
        sorted(settings_set(code.module)),
        code.draws,
        may_write(code.module) or bool(packages - KNOWN) or any(map(_writes_file, handlers)),
        _makes_code(code),
    )


def _handlers() -> list[logging.Handler]:
    """Return what handles the messages of loggers, which any cell and any package may log."""
    loggers = [logging.root, *(one for one in logging.root.manager.loggerDict.values() if type(one) is logging.Logger)]
    return [handler for logger in loggers for handler in logger.handlers]


def _writes_file(handler: logging.Handler) -> bool:
    return isinstance(handler, logging.FileHandler) and handler.baseFilename != os.devnull


def _held_by(handlers: Iterable[logging.Handler], namespace: Mapping[str, Any]) -> set[str]:
    """Return the names of handlers, and of the streams to which they write."""
    objects = {id(one) for handler in handlers for one in (handler, vars(handler).get("stream"))} - {id(None)}
    return {name for name, value in namespace.items() if id(value) in objects}


def _makes_code(code: Code) -> bool:
    """Return whether what a cell sets may be code, or hold code, that is not looked at here."""
    if code.packages - KNOWN or code.look.trees[1:]:
        return True
    for node in ast.walk(code.module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            return True
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            tops = {module.partition(".")[0] for module in modules}
            if not tops <= KNOWN | sys.stdlib_module_names:
                return True
    return False


def beside(code: Code, names: SessionNames) -> str:
    """Return why the effects of code cannot be told, for people."""
    for one in names.broken:
        unknown = code.used.intersection(one.sets) if one.makes_code else set()
        if unknown:
            return f"it uses `{min(unknown)}`, which cell {one.number} was to make"
    outside = _OUTSIDE & code.look.identifiers
    if outside:
        return f"it uses `{min(outside)}`"
    if code.look.settings:
        return f"it may change a package: {code.look.settings[0]}"
    if not ASSUMED.isdisjoint(names.namespace):
        return "the notebook has functions with names of Python's own"
    modules = [root for root in roots_changed(code.module) if isinstance(names.namespace.get(root), types.ModuleType)]
    if modules and not settings_set(code.module):
        return f"it changes the module {modules[0]}"
    local = local_code.reached_modules({*code.look.identifiers}, _modules_of(code.names, names.namespace))
    return f"it uses the module {min(local)}" if local else ""


def _modules_of(names: Iterable[str], namespace: Mapping[str, Any]) -> set[str]:
    values = [namespace[name] for name in names if name in namespace]
    modules = {one.__name__ for one in values if isinstance(one, types.ModuleType)}
    return modules | {str(getattr(one, "__module__", "")) for one in values} | {type(one).__module__ for one in values}


def roots_changed(tree: ast.AST) -> set[str]:
    """Return the names of which code sets or deletes an item or attribute."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript | ast.Attribute) and not isinstance(node.ctx, ast.Load):
            root: ast.AST = node
            while isinstance(root, ast.Subscript | ast.Attribute | ast.Call):
                root = root.func if isinstance(root, ast.Call) else root.value
            found |= {root.id} if isinstance(root, ast.Name) else set()
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("setattr", "delattr"):
            found |= {one.id for given in node.args[:1] for one in ast.walk(given) if isinstance(one, ast.Name)}
    return found


def _values_changed(code: Code, namespace: Mapping[str, Any]) -> set[str]:
    """Return the names whose values code may change in place."""
    assert code.tree is not None

    def kind_of(name: str) -> Kind | None:
        return _kind(namespace[name]) if name in namespace else None

    def module_of(name: str) -> str:
        value = namespace.get(name)
        return value.__name__ if isinstance(value, types.ModuleType) else ""

    direct = changed_names(code.tree, kind_of, module_of)
    through = reached([word for name in code.used & namespace.keys() for word in names_in(namespace[name])], namespace)
    # What functions reach may be changed in ways that are not looked at; so may all that code in values mentions.
    inside = code.names - {node.id for node in ast.walk(code.tree) if isinstance(node, ast.Name)}
    candidates = direct | through | (inside if code.look.trees[1:] else set())
    return {name for name in candidates if name in namespace and _may_change(namespace[name])}


def _may_change(value: object) -> bool:
    if isinstance(value, types.FunctionType):
        # What a function has from around it may be bound anew (`nonlocal`), whatever it is.
        has_cells = any(not isinstance(_content(cell), _CODE) for cell in value.__closure__ or ())
        inside = [_content(cell) for cell in value.__closure__ or ()]
        given = [*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values(), *vars(value).values()]
        return has_cells or (value.__module__ == _MAIN and any(map(_may_change, [*inside, *given])))
    if isinstance(value, type):
        own = [one for name, one in vars(value).items() if not name.startswith("__")]
        return value.__module__ == _MAIN and any(_is_data(one) for one in own)
    if type(value) in (tuple, frozenset):
        return any(map(_may_change, value))  # type: ignore[call-overload]
    return type(value) not in ATOMS and can_change(type(value))


def _is_data(value: object) -> bool:
    return not callable(value) and not isinstance(value, property | staticmethod | classmethod)


def _content(cell: types.CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # nothing was assigned to it yet
        return None


def _kind(value: object) -> Kind | None:
    """Return the kind of a value of whose uses some are known to be harmless."""
    kind = type(value)
    package = str(kind.__module__).partition(".")[0]
    if kind in (list, dict, set, tuple, frozenset):
        parts: Any = [*value.keys(), *value.values()] if isinstance(value, dict) else value
        is_flat = len(parts) <= _ITEMS and all(type(one) in ATOMS for one in parts)
        return Kind("builtins", is_flat=True) if is_flat else None
    if package == "numpy" and kind.__name__ == "ndarray":
        return Kind("numpy", is_flat=True) if not value.dtype.hasobject else None  # type: ignore[attr-defined]
    if package == "pandas" and kind.__name__ in ("DataFrame", "Series"):
        return Kind("pandas", is_flat=True) if _is_flat_table(value) else None
    return None


def _is_flat_table(value: Any) -> bool:
    from pandas.api.types import infer_dtype  # noqa: PLC0415 - it is loaded, as there is a table

    columns = [value.iloc[:, n] for n in range(value.shape[1])] if value.ndim == 2 else [value]
    return all(one.dtype != object or infer_dtype(one, skipna=True) in _FLAT for one in columns)


def dependence(cell: CellText, names: SessionNames) -> str:
    """Return why a cell is not run, for people; empty if it is shown to be independent of those that are broken."""
    found = obstacle(cell, Code(cell, names), names)
    if found is None:
        return ""
    one, is_sure, reason = found
    return f"{'follows from' if is_sure else 'cannot be shown to be independent of'} {one}: {reason}"


def obstacle(cell: CellText, code: Code, names: SessionNames) -> tuple[Broken, bool, str] | None:
    """Return the cell that another one may depend on, whether it does for sure, and why; None if there is none."""
    needs = {*(cell.needs or ())} | reached(cell.needs or (), names.namespace)
    needs |= names.connected(needs)
    needs |= {*code.inside}  # of names that are not there yet, functions know more
    for one in names.broken:
        made = sorted(needs & {*one.sets, *one.changes})
        if made:
            verb = "sets" if made[0] in one.sets else "may change"
            return one, True, f"it uses `{made[0]}`, which that cell {verb}"
    unclear = code.unclear
    if not unclear and not names.unstorable.isdisjoint(needs) and any(one.changes for one in names.broken):
        unclear = f"it uses `{min(names.unstorable & needs)}`, which cannot be stored"
    for one in names.broken:
        reason = f"of that cell nothing can be told: {one.anything}" if one.anything else unclear or _shared(one, code)
        if reason:
            return one, False, reason
    return None


def _shared(one: Broken, code: Code) -> str:
    """Return what beside names a cell may have in common with one before it, for people."""
    if one.draws and code.draws:
        return "it may read the random state"
    packages = code.packages
    kept = packages & {*one.packages}
    if kept:
        return f"it uses {min(kept)}, and what that package keeps is not known"
    settings = settings_used(code.module, packages) & {*one.settings}
    if settings:
        return f"it may read settings of {max(settings) or 'the process'}"
    reads = may_read(code.module, sys.modules) or bool(packages - KNOWN) or _OUTSIDE & code.look.identifiers
    return "it may read files" if one.writes and reads else ""


def without_rebound(before: Sequence[Broken], cell: CellText) -> list[Broken]:
    """Return what cells might have done, without the names that a cell has set anew since."""
    anew = {*cell.sure}
    return [
        msgspec.structs.replace(
            one,
            sets=[name for name in one.sets if name not in anew],
            changes=[name for name in one.changes if name not in anew],
        )
        for one in before
    ]
