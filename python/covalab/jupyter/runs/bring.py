"""Names of a run in the notebook: each is loaded when a cell first reads it.

A cell is looked at before it runs: if it mentions a name that was brought, also in a text such as `%timeit f(x)`, or
calls a function that reads one, the name is loaded first. The lines below a `%bring` in the same cell are looked at
when it has been run.
"""

from __future__ import annotations

import ast
import re
import types
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec

from covalab.blobs import BlobStore
from covalab.core.cell_source import remember_all
from covalab.namespace.snapshots import LoadedDefinitions, restore
from covalab.worker.session.reach import names_in, reached
from covalab.worker.session.record import RESULT, CellRecord

LOAD: Final = "__covalab_bring__"
"""Name of the function in the notebook that a cell calls first, if it reads names that were brought."""
_WORD: Final = re.compile(r"[^\W\d]\w*")
_LONGEST_TEXT: Final = 10_000


class Bringing(msgspec.Struct, frozen=True):
    """Result of `%bring`: which names came, which were left as they are, and which could not be stored."""

    run: str
    names: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    lost: dict[str, str] = {}
    unknown: tuple[str, ...] = ()

    def __repr__(self) -> str:
        if self.names:
            return f"from {self.run}, loaded when a cell first reads them: {', '.join(self.names)}"
        return f"nothing came from {self.run}" if self.remarks else f"{self.run} has no names"

    @property
    def remarks(self) -> str:
        """Remarks for people: names that did not come, and why."""
        lines = []
        if self.kept:
            lines.append(f"left as they are here: {', '.join(self.kept)} (--replace takes those of the run)")
        lines += [f"{name} could not be stored: {reason}" for name, reason in self.lost.items()]
        if self.unknown:
            lines.append(f"the run has no {', '.join(self.unknown)}")
        return "\n".join(lines)


class BroughtNames:
    """Names that were brought to a notebook and not yet loaded.

    Parameters
    ----------
    namespace
        The namespace of the notebook.
    """

    def __init__(self, namespace: dict[str, Any]) -> None:
        self._namespace = namespace
        self._pending: dict[str, tuple[CellRecord, BlobStore, LoadedDefinitions]] = {}

    def bring(
        self, run: str, record: CellRecord, blobs: BlobStore, wanted: Sequence[str] = (), *, replace: bool = False
    ) -> Bringing:
        """Bring names of a run; all that it has, if none are wanted.

        Parameters
        ----------
        run
            The id of the dispatch.
        record, blobs
            What its last cell left, and where the values are.
        wanted
            The names.
        replace
            Whether names that the notebook has are replaced.
        """
        there = [name for name in record if name != RESULT]
        lost = record.state.snapshot.unstorable
        chosen = [name for name in (wanted or there) if name in there]
        kept = () if replace else tuple(name for name in chosen if name in self._namespace)
        brought = [name for name in chosen if name not in kept]
        definitions = LoadedDefinitions()
        for name in brought:
            self._namespace.pop(name, None)
            self._pending[name] = (record, blobs, definitions)
        return Bringing(
            run,
            tuple(brought),
            tuple(name for name in kept if not self._is_same_module(name, record)),
            {name: lost[name] for name in (wanted or lost) if name in lost},
            tuple(name for name in wanted if name not in there and name not in lost),
        )

    def _is_same_module(self, name: str, record: CellRecord) -> bool:
        """Return whether the notebook has the same module under a name, so that nothing was kept from it."""
        here = self._namespace[name]
        if not isinstance(here, types.ModuleType):
            return False
        stored = next((one for one in record.state.snapshot.covariables if name in one.names), None)
        return stored is not None and stored.names == (name,) and record[name] is here

    def needed(self, tree: ast.AST) -> list[str]:
        """Return the names that code may read and that are not loaded yet."""
        self.forget_set()
        if not self._pending:
            return []
        words = set(_words(tree))
        words |= reached(words, self._namespace)
        for name in list(words):
            if name in self._namespace:
                words.update(names_in(self._namespace[name]))
        return sorted(words & self._pending.keys())

    def forget_set(self) -> None:
        """Forget names that the notebook has set itself since."""
        for name in [name for name in self._pending if name in self._namespace]:
            del self._pending[name]

    def load(self, *names: str, code: str = "") -> None:
        """Load names, those that some code may read, and those that functions among them read."""
        todo = [*names, *(self.needed(ast.parse(code)) if code else ())]
        while todo:
            name = todo.pop()
            source = self._pending.get(name)
            if source is not None:
                self._load(name, *source)
                todo += [one for one in names_in(self._namespace.get(name)) if one in self._pending]

    def _load(self, name: str, record: CellRecord, blobs: BlobStore, definitions: LoadedDefinitions) -> None:
        """Load the objects of a name; names that share some with it come with it, if they were brought, too."""
        group = next(one.names for one in record.state.snapshot.covariables if name in one.names)
        mine = {one: self._namespace[one] for one in group if one in self._namespace}
        remember_all(record.state.sources)
        with record.opening():
            restore(record.state.snapshot, blobs, self._namespace, [name], definitions)
        for one in group:
            is_wanted = one in self._pending and self._pending[one][0] is record
            if is_wanted:
                del self._pending[one]
            elif one not in mine:
                self._namespace.pop(one, None)
        self._namespace.update(mine)


def _words(tree: ast.AST) -> Iterable[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) <= _LONGEST_TEXT:
            yield from _WORD.findall(node.value)


class LoadingTransformer(ast.NodeTransformer):
    """Rewriter of cells: what reads names that are not loaded yet first calls `LOAD`; so does what follows `%bring`."""

    def __init__(self, needed: Callable[[ast.AST], Sequence[str]]) -> None:
        self._needed = needed

    def visit_Module(self, node: ast.Module) -> ast.Module:
        """Add the call in front of the code."""
        names = self._needed(node) if node.body else []
        _load_after_bring(node)
        if names:
            node.body[:0] = _call(", ".join(map(repr, names)), node.body[0])
        return node


def _call(arguments: str, place: ast.stmt) -> list[ast.stmt]:
    made = ast.parse(f"{LOAD}({arguments})").body
    for part in ast.walk(made[0]):
        ast.copy_location(part, place)
    return made


def _load_after_bring(tree: ast.Module) -> None:
    """Add the call below each `%bring`: which names it brings is not known before."""
    if not any(map(_is_bring, ast.walk(tree))):
        return
    code, last = ast.unparse(tree), tree.body[-1]
    for block in list(ast.walk(tree)):
        for field in ("body", "orelse", "finalbody"):
            lines = getattr(block, field, None)
            if isinstance(lines, list):
                lines[:] = [one for line in lines for one in (line, *(_after(line, code) if line is not last else ()))]


def _after(line: ast.stmt, code: str) -> list[ast.stmt]:
    is_simple = isinstance(line, (ast.Expr, ast.Assign))  # the lines in another are looked at by themselves
    return _call(f"code={code!r}", line) if is_simple and any(map(_is_bring, ast.walk(line))) else []


def _is_bring(node: ast.AST) -> bool:
    """Return whether a part of a cell is what IPython makes of `%bring`."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "run_line_magic"
        and bool(node.args)
        and isinstance(node.args[0], ast.Constant)
        and node.args[0].value == "bring"
    )
