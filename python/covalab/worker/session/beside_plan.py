"""Plan of what may run side by side: which cells after one that is about to run need nothing of those before them.

It says what is worth a try, and that a try does nothing outside of its process. Whether its values are those that the
cell has in its turn is compared by digest when that comes (`worker.session.reuse`). So it may hope that a value which a
cell only hands to a function is as it was afterwards, and that a package draws no random numbers.
"""

from __future__ import annotations

import ast
import pickle
import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from covalab.core.own_attributes import own_attribute
from covalab.core.plain_types import ATOMS
from covalab.namespace.covariables import Tracker
from covalab.worker.reuse.runs import CellRun
from covalab.worker.session.cell_text import CellText
from covalab.worker.session.effects import may_write, settings_set
from covalab.worker.session.independence import KNOWN, Code, SessionNames, beside, effects, obstacle, roots_changed
from covalab.worker.session.record import RESULT, Broken, RecordState

_PROCESSES: Final = frozenset({"wait", "wait3", "wait4", "waitpid", "waitid", "active_children", "children", "killpg"})
"""Names by which code looks at processes, of which those beside the session are some."""
_DRAWING: Final = frozenset({"random", "seed", "sample", "shuffle"})
_CHANGING: Final = frozenset(
    {
        *("append", "extend", "insert", "remove", "pop", "popitem", "clear", "sort", "reverse", "update", "setdefault"),
        *("add", "discard", "fill", "resize", "put", "partition", "setflags", "itemset", "setfield", "byteswap"),
        *("difference_update", "intersection_update", "symmetric_difference_update"),
    }
)
"""Methods of containers, arrays and tables that change them."""
_OF_TABLES: Final = frozenset({"builtins", "numpy", "pandas"})
_WORK: Final = (ast.Call, ast.For, ast.While, ast.comprehension, ast.BinOp, ast.With)
_UNUSUAL: Final = (ast.Delete, ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await)


class Plan:
    """Plan for the cells of a session after one that is about to run.

    Parameters
    ----------
    namespace, tracker, state
        The session, as it is now.
    """

    def __init__(self, namespace: Mapping[str, Any], tracker: Tracker, state: RecordState) -> None:
        self._namespace, self._tracker = namespace, tracker
        self._state = state
        self._before: list[Broken] = []

    def add(self, number: int, cell: CellText) -> str:
        """Add the next cell; return why it waits for its turn, for people: empty if it may run now."""
        names = SessionNames(
            self._namespace, self._tracker, msgspec.structs.replace(self._state, broken=[*self._before])
        )
        code = Code(cell, names)
        found = obstacle(cell, code, names)
        if found is not None:
            reason = f"after cell {found[0].number}: {found[2]}"
        else:
            reason = self._set_before(cell, code) or _doubt(cell, code, names)
        self._before.append(self._might(number, cell, code, names))
        return reason

    def _set_before(self, cell: CellText, code: Code) -> str:
        """Return why a cell waits that sets a name of one before it: what it finds there would be another value."""
        nodes = ast.walk(code.tree) if code.tree is not None else ()
        imports = [alias for node in nodes if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names]
        again = {one.asname or one.name.partition(".")[0] for one in imports} & self._namespace.keys()
        own = {*cell.bound} - again
        for one in self._before:
            both = own & {*one.sets}
            if both:
                return f"after cell {one.number}: both set `{min(both)}`"
        return ""

    def _might(self, number: int, cell: CellText, code: Code, names: SessionNames) -> Broken:
        one = effects(number, cell, code, names)
        if one.anything:
            return one
        looks = _PROCESSES & code.look.identifiers
        if looks:
            return msgspec.structs.replace(one, anything=f"it uses `{min(looks)}`")
        changed = {*_changed(code.module, self._namespace)}
        changes = sorted(names.sharing(changed & {*one.changes}))
        return msgspec.structs.replace(one, changes=changes, draws=_draws(code), makes_code=False)


def _draws(code: Code) -> bool:
    return not _DRAWING.isdisjoint(code.look.identifiers | {*code.inside})


def _doubt(cell: CellText, code: Code, names: SessionNames) -> str:
    """Return why a cell stays in its turn, whatever cells before it do."""
    tree = code.tree
    if not cell.parallel:
        return "in its turn: it, or one after it, reads what cells have shown"
    if tree is None or code.unclear:
        return f"in its turn: {code.unclear or 'it is not Python alone'}"
    if not any(isinstance(node, _WORK) for node in ast.walk(tree)):
        return "in its turn: it has little to do"
    doubts = [beside(code, names), *code.look.all_doubts, *_own_doubts(cell, code, names)]
    found = next(filter(None, doubts), "")
    return f"in its turn: {found}" if found else ""


def _own_doubts(cell: CellText, code: Code, names: SessionNames) -> Iterator[str]:
    if may_write(code.module):
        yield "it may write files"
    if settings_set(code.module):
        yield "it may change settings"
    if _draws(code):
        yield "it may draw random numbers"
    yield from (f"it uses {one}, of which nobody knows what it does" for one in sorted(code.packages - KNOWN))
    yield from (f"it uses `{name}`, which cannot be stored" for name in sorted(names.unstorable & code.names))
    shared = [name for name in sorted(code.names) if _is_shared_memory(names.namespace.get(name))]
    yield from (f"it uses `{name}`, which is a file in memory" for name in shared)
    yield from (f"it uses `{name}`" for name in sorted(_PROCESSES & code.look.identifiers))
    if any(isinstance(node, _UNUSUAL) for node in ast.walk(code.module)):
        yield "it deletes something, or waits for others (`async`)"
    if any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in getattr(code.tree, "body", ())):
        yield "it defines functions or classes"
    changed = {*_changed(code.module, names.namespace)} - {*cell.sure} | {*_grown(code.module, names.namespace)}
    changed &= names.namespace.keys()
    yield from (f"it changes `{name}` in place" for name in sorted(changed))


def _is_shared_memory(value: object) -> bool:
    seen = 0
    while value is not None and seen < 8:  # views of views
        if type(value).__name__ in ("memmap", "mmap", "SharedMemory"):
            return True
        value, seen = own_attribute(value, "base"), seen + 1
    return False


def _changed(tree: ast.Module, namespace: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names whose values code changes as it says: by an item, an attribute, a method that does so."""
    yield from roots_changed(tree)
    yield from _grown(tree, namespace)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        root: ast.AST = node.func.value
        while isinstance(root, ast.Subscript | ast.Attribute):
            root = root.value
        if isinstance(root, ast.Name) and _is_changed_by(node, node.func.attr, namespace.get(root.id)):
            yield root.id


def _grown(tree: ast.Module, namespace: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names whose values `+=` and its like change."""
    for node in ast.walk(tree):
        target = node.target if isinstance(node, ast.AugAssign) else None
        if isinstance(target, ast.Name) and type(namespace.get(target.id)) not in ATOMS:
            yield target.id


def _is_changed_by(call: ast.Call, method: str, value: object) -> bool:
    if isinstance(value, types.ModuleType | type):
        return False
    package = str(type(value).__module__).partition(".")[0]
    if value is None or package in _OF_TABLES:
        return method in _CHANGING or any(one.arg in ("inplace", "out") for one in call.keywords)
    return True


def shown_warnings() -> dict[str, int]:
    """Return how many warnings each module of a package has shown, which are not shown again."""
    modules = {name: vars(one) for name, one in [*sys.modules.items()] if isinstance(one, types.ModuleType)}
    found = {name: one.get("__warningregistry__") for name, one in modules.items()}
    return {name: len(shown) - ("version" in shown) for name, shown in found.items() if shown and name != "__main__"}


def beside_obstacle(run: CellRun, cell: CellText) -> str:
    """Return what a cell has done that must not come from beside the session, for people: all but new values of names.

    A run of an earlier dispatch may do more. Here nothing is saved by taking a risk.
    """
    others = {name for one in run.covariables for name in one.names} - {RESULT, *cell.bound}
    if others:
        return f"what it made shares objects with `{min(others)}`, or it changed that"
    if run.gone:
        return f"it deleted `{min(run.gone)}`"
    if any(one.definitions for one in run.covariables):
        return "it made functions or classes"
    if run.hidden:
        parts = pickle.loads(run.hidden).parts  # noqa: S301 - of this process
        return f"it changed settings or random states of {', '.join(sorted(parts))}"
    return ""
