"""Which names a cell takes from outside, sets and changes, in the order in which it runs.

Pure: an abstract run over the syntax tree that follows branches, loops and exceptions without knowing what any name
means. What the names stand for in a notebook is decided in `cells` and `wiring`.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from typing import Final, Literal, get_args

import msgspec

from covalab.jupyter.cells.mutation import PossibleChange, changed_by_call, changes_inside, root_of, short_text
from covalab.jupyter.cells.scopes import (
    FunctionNode,
    Inner,
    bound_name,
    comprehension_parts,
    inner,
    names_bound,
    outer_parts,
    type_parameters,
    walk_scope,
    walrus_names,
    wants,
)

BindingKind = Literal["data", "target", "definition", "import"]
"""How a name was set: as data, by a loop, `with` or `except`, by `def` or `class`, by an import."""

_STRENGTH: Final = {kind: rank for rank, kind in enumerate(reversed(get_args(BindingKind)))}

_LOOKS_UP_NAMES: Final = frozenset({"query", "eval"})
_AT_NAME: Final = re.compile(r"@([^\W\d]\w*)")


class Binding(msgspec.Struct, frozen=True):
    """A name that the block sets. `sure`: it has a value whenever the block ends normally; `likely`: if loops run."""

    kind: BindingKind
    sure: bool
    line: int
    likely: bool = False


class Scope(msgspec.Struct, frozen=True):
    """What a block does with names.

    `reads` are those that may be read before the block has set them, in order of first use, with the line; those in
    `unsure` only on some ways through the block (an earlier turn of a loop, another branch, may have set them).
    `reads_after_empty` are read only when a loop before turns out to have nothing to do. `changes` are names from
    outside whose item or attribute is set or deleted; `deleted` are names gone at the end.
    """

    reads: dict[str, int]
    unsure: frozenset[str]
    bindings: dict[str, Binding]
    changes: dict[str, int]
    possible: tuple[PossibleChange, ...]
    deleted: frozenset[str]
    imports: dict[str, tuple[str, ...]]
    is_async: bool
    reads_after_empty: dict[str, int] = {}


class Conflict(Exception):
    """Code that means something else at the top of a cell than inside a function; `line` counts within the block."""

    def __init__(self, message: str, line: int) -> None:
        self.message, self.line = message, line
        super().__init__(message, line)


def scan(body: Sequence[ast.stmt]) -> Scope:
    r"""Follow a block of statements as the top level of a cell.

    Raises
    ------
    Conflict
        For a class body that reads an outer name and then sets its own of that name.

    Examples
    --------
    >>> scope = scan(ast.parse("total = 0\nfor x in xs: total += x").body)
    >>> list(scope.reads), [name for name, binding in scope.bindings.items() if binding.sure]
    (['xs'], ['total'])
    """
    exact, likely = _Flow(), _Flow(loops_run=True)
    exact.block(body)
    likely.block(body)
    scope, strict = likely.finish(), exact.finish()
    sure = {name for name, binding in strict.bindings.items() if binding.sure}
    bindings = {
        name: msgspec.structs.replace(binding, sure=name in sure, likely=binding.sure)
        for name, binding in scope.bindings.items()
    }
    empty = {name: line for name, line in strict.reads.items() if name not in scope.reads}
    return msgspec.structs.replace(scope, bindings=bindings, reads_after_empty=empty)


_THROUGH: Final = frozenset({"enumerate", "zip", "reversed", "sorted", "iter", "list", "tuple", "items", "values"})
"""Calls that hand out the elements of what they get, so that changing an element changes the container."""


class _Later(msgspec.Struct, frozen=True):
    """What happens when a function of the block is called: not before its name is first used."""

    inner: Inner
    changes: tuple[tuple[str, int], ...]
    possible: tuple[PossibleChange, ...]
    line: int


_SWALLOW: Final = frozenset({"suppress", "raises", "assertRaises"})
"""Contexts that go on after an exception, so that their body may end anywhere."""

_GONE: Final = "~"


def _opposite(name: str) -> str:
    return name.removeprefix(_GONE) if name.startswith(_GONE) else _GONE + name


class _Loop:
    """What is sure where a loop is left or begun again."""

    def __init__(self) -> None:
        self.breaks: list[set[str]] = []
        self.continues: list[set[str]] = []


class _Flow(ast.NodeVisitor):
    """The abstract run. `_sure` are the names that have a value here; None where control never arrives.

    A name that is surely deleted is in it too, marked by `_GONE`, so that both meet in the same way where ways meet.
    With `loops_run` every loop is taken to run at least once.
    """

    def __init__(self, *, loops_run: bool = False) -> None:
        self._loops_run = loops_run
        self._sure: set[str] | None = set()
        self._maybe: set[str] = set()
        self._reads: dict[str, int] = {}
        self._unsure: set[str] = set()
        self._bound: dict[str, tuple[BindingKind, int]] = {}
        self._changes: dict[str, int] = {}
        self._possible: list[PossibleChange] = []
        self._imports: dict[str, list[str]] = {}
        self._later: dict[str, list[_Later]] = {}
        self._elements: dict[str, frozenset[str]] = {}  # loop variables and aliases: the names they are part of
        self._loops: list[_Loop] = []
        self._branches = 0
        self._is_async = False
        self._discarded: ast.expr | None = None

    def finish(self) -> Scope:
        """Return what was found; functions that nobody called yet may be called by whoever uses them."""
        for name in list(self._later):
            self._run_later(name, 0)
        sure = self._sure or set()
        deleted = frozenset(name.removeprefix(_GONE) for name in sure if name.startswith(_GONE))
        bindings = {
            name: Binding(kind, name in sure, line) for name, (kind, line) in self._bound.items() if name not in deleted
        }
        return Scope(
            reads=self._reads,
            unsure=frozenset(self._unsure),
            bindings=bindings,
            changes=self._changes,
            possible=tuple(self._possible),
            deleted=deleted,
            imports={name: tuple(lines) for name, lines in self._imports.items()},
            is_async=self._is_async,
        )

    def block(self, body: Sequence[ast.stmt]) -> None:
        """Run statements in order."""
        for statement in body:
            self.visit(statement)

    # What happens to a name

    def _read(self, name: str, line: int) -> None:
        self._run_later(name, line)
        if self._sure is None or name in self._sure:
            return
        if name in self._maybe:
            if name not in self._reads:
                self._unsure.add(name)
        else:
            self._unsure.discard(name)
        self._reads.setdefault(name, line)

    def _bind(self, name: str, kind: BindingKind, line: int) -> None:
        known = self._bound.get(name)
        if known is None or _STRENGTH[kind] > _STRENGTH[known[0]]:
            self._bound[name] = (kind, known[1] if known else line)
        self._maybe.add(name)
        if self._sure is not None:
            self._sure.add(name)
            self._sure.discard(_GONE + name)
        self._elements.pop(name, None)
        if kind != "import":
            self._imports.pop(name, None)

    def _unbind(self, name: str) -> None:
        if self._sure is not None:
            self._sure.discard(name)
            self._sure.add(_GONE + name)

    def _roots(self, name: str) -> frozenset[str]:
        return self._elements.get(name, frozenset()) | {name}

    def _change(self, name: str, line: int) -> None:
        for root in self._roots(name):
            if root not in self._bound:
                self._changes.setdefault(root, line)

    def _may_change(self, name: str, call: str, line: int) -> None:
        for root in self._roots(name):
            if root not in self._bound:
                self._possible.append(PossibleChange(root, call, line))

    def _run_later(self, name: str, line: int) -> None:
        for later in self._later.pop(name, ()):
            for wanted in sorted(later.inner.reads):
                self._read(wanted, line or later.line)
            for changed, at in later.changes:
                self._change(changed, at)
            for possible in later.possible:
                self._may_change(possible.name, possible.call, possible.line)
            for target in sorted(later.inner.sets):
                sure = None if self._sure is None else set(self._sure)
                self._bind(target, "data", later.line)
                self._sure = sure  # whether the function really ran is not known

    # Ways through the code

    def _together(self, *ways: set[str] | None) -> None:
        """Go on where several ways meet: sure is what is sure on each of them."""
        arriving = [way for way in ways if way is not None]
        self._sure = set.intersection(*arriving) if arriving else None

    def _copy(self) -> set[str] | None:
        return None if self._sure is None else set(self._sure)

    def _maybe_run(self, *nodes: ast.AST) -> None:
        """Visit what may not be evaluated at all."""
        before = self._copy()
        for node in nodes:
            self.visit(node)
        self._together(before, self._sure)

    def visit_If(self, node: ast.If) -> None:
        self.visit(node.test)
        self._branches += 1
        before = self._copy()
        self.block(node.body)
        after_body, self._sure = self._sure, before
        self.block(node.orelse)
        self._together(after_body, self._sure)
        self._branches -= 1

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.visit(node.test)
        before = self._copy()
        self.visit(node.body)
        after_body, self._sure = self._sure, before
        self.visit(node.orelse)
        self._together(after_body, self._sure)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        self.visit(node.values[0])
        self._maybe_run(*node.values[1:])

    def visit_Assert(self, node: ast.Assert) -> None:
        self.visit(node.test)
        if node.msg is not None:
            self._maybe_run(node.msg)

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self.visit(node.iter)
        before = self._copy()
        self._maybe |= names_bound([node.target, *node.body])
        self._branches += 1
        self._loops.append(_Loop())
        self._target(node.target, "target")
        for name in names_bound([node.target]):
            self._elements[name] = self._parts_of(node.iter)
        self.block(node.body)
        loop = self._loops.pop()
        self._together(*([] if self._loops_run else [before]), self._sure, *loop.continues)
        self.block(node.orelse)
        self._together(self._sure, *loop.breaks)
        self._branches -= 1

    def visit_AsyncFor(self, node: ast.AsyncFor) -> None:
        self._is_async = True
        self.visit_For(node)

    def visit_While(self, node: ast.While) -> None:
        self._maybe |= names_bound([node.test, *node.body])
        self.visit(node.test)
        forever = isinstance(node.test, ast.Constant) and bool(node.test.value)
        before = None if forever else self._copy()
        self._branches += 1
        self._loops.append(_Loop())
        self.block(node.body)
        loop = self._loops.pop()
        again = [] if forever else [self._sure, *loop.continues]
        self._together(*([] if self._loops_run else [before]), *again)
        self.block(node.orelse)
        self._together(self._sure, *loop.breaks)
        self._branches -= 1

    def visit_Break(self, node: ast.Break) -> None:  # noqa: ARG002 - the visitor's signature
        if self._loops and self._sure is not None:
            self._loops[-1].breaks.append(self._sure)
        self._sure = None

    def visit_Continue(self, node: ast.Continue) -> None:  # noqa: ARG002
        if self._loops and self._sure is not None:
            self._loops[-1].continues.append(self._sure)
        self._sure = None

    def visit_Raise(self, node: ast.Raise) -> None:
        self.generic_visit(node)
        self._sure = None

    def visit_Try(self, node: ast.Try) -> None:
        before = self._copy()
        self._branches += 1
        self.block(node.body)
        self.block(node.orelse)
        ways = [self._sure]
        for handler in node.handlers:
            self._sure = None if before is None else set(before)
            if handler.type is not None:
                self.visit(handler.type)
            if handler.name:
                self._bind(handler.name, "target", handler.lineno)
            self.block(handler.body)
            if handler.name and self._sure is not None:
                self._sure.discard(handler.name)  # Python forgets it when the handler ends
            ways.append(self._sure)
        self._together(*ways)
        after = self._copy()
        # `finally` also runs when something failed, so it can count on nothing that `try` did ...
        self._sure = before if after is None or before is None else before & after
        counted_on = self._copy() or set()
        self.block(node.finalbody)
        # ... but code after it is only reached when nothing did.
        if after is not None and self._sure is not None:
            done, undone = self._sure - counted_on, counted_on - self._sure
            self._sure = (after - undone - {_opposite(name) for name in done}) | done
        else:
            self._sure = None
        self._branches -= 1

    visit_TryStar = visit_Try  # noqa: N815 - the names are those of `ast`

    def visit_With(self, node: ast.With | ast.AsyncWith) -> None:
        for item in node.items:
            self.visit(item.context_expr)
            if item.optional_vars is not None:
                self._target(item.optional_vars, "target")
        before = self._copy()
        swallows = any(_called(item.context_expr) in _SWALLOW for item in node.items)
        self._branches += swallows
        self.block(node.body)
        if swallows:
            self._branches -= 1
            self._together(before, self._sure)

    def visit_AsyncWith(self, node: ast.AsyncWith) -> None:
        self._is_async = True
        self.visit_With(node)

    def visit_Match(self, node: ast.Match) -> None:
        self.visit(node.subject)
        before = self._copy()
        self._branches += 1
        ways: list[set[str] | None] = []
        exhausted = False
        for case in node.cases:
            self._sure = None if before is None else set(before)
            self.visit(case.pattern)
            if case.guard is not None:
                self.visit(case.guard)
            self.block(case.body)
            ways.append(self._sure)
            exhausted |= case.guard is None and _matches_everything(case.pattern)
        self._together(*ways, None if exhausted else before)
        self._branches -= 1

    def visit_MatchAs(self, node: ast.MatchAs) -> None:
        self.generic_visit(node)
        if node.name:
            self._bind(node.name, "target", node.lineno)

    def visit_MatchStar(self, node: ast.MatchStar) -> None:
        if node.name:
            self._bind(node.name, "target", node.lineno)

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        self.generic_visit(node)
        if node.rest:
            self._bind(node.rest, "target", node.lineno)

    # Statements that set names

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        for target in node.targets:
            self._target(target, "data")
            if isinstance(target, ast.Name) and isinstance(node.value, ast.Name):
                self._elements[target.id] = self._roots(node.value.id) - {target.id}

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        # The annotation is not evaluated once the cell is a function, so the names in it are not needed.
        if node.value is not None:
            self.visit(node.value)
            self._target(node.target, "data")
        elif not isinstance(node.target, ast.Name):
            self.visit(node.target)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):
            self._read(node.target.id, node.lineno)
        self.visit(node.value)
        self._target(node.target, "data")

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        self._target(node.target, "data")

    def visit_TypeAlias(self, node: ast.AST) -> None:
        """Follow `type X = ...` (Python 3.12 and newer)."""
        name = node.name  # type: ignore[attr-defined]
        for wanted in sorted(wants([node.value]).reads - type_parameters(node)):  # type: ignore[attr-defined]
            self._read(wanted, name.lineno)
        self._bind(name.id, "definition", name.lineno)

    def visit_Delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            self._target(target, "data")

    def _target(self, target: ast.expr, kind: BindingKind) -> None:
        if isinstance(target, ast.Name):
            if isinstance(target.ctx, ast.Del):
                self._read(target.id, target.lineno)
                self._unbind(target.id)
            else:
                self._bind(target.id, kind, target.lineno)
        elif isinstance(target, (ast.Tuple, ast.List)):
            for element in target.elts:
                self._target(element, kind)
        elif isinstance(target, ast.Starred):
            self._target(target.value, kind)
        else:
            self.generic_visit(target)
            root = root_of(target)
            if root is not None:
                self._change(root, target.lineno)

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            name = bound_name(alias)
            again = self._bound.get(name, ("import", 0))[0] == "import" and not self._branches
            known = self._imports.get(name, []) if alias.asname is None and "." in alias.name else []
            self._bind(name, "import", node.lineno)
            if again:
                one = ast.Import([alias]) if isinstance(node, ast.Import) else _import_one(node, alias)
                self._imports[name] = [*known, ast.unparse(one)]
            else:
                self._imports.pop(name, None)

    visit_ImportFrom = visit_Import  # noqa: N815 - the names are those of `ast`

    # Nested scopes

    def visit_FunctionDef(self, node: FunctionNode) -> None:
        for part in outer_parts(node):
            self.visit(part)
        self._bind(node.name, "definition", node.lineno)
        self._later[node.name] = [_later(node)]

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 - the names are those of `ast`

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for part in outer_parts(node):
            self.visit(part)
        body = _ClassFlow()
        body.block(node.body)
        outside = type_parameters(node)
        for name, line in body.wanted(node).items():
            if name not in outside:
                self._read(name, line)
        for name, line in body._changes.items():  # noqa: SLF001 - the same class
            self._change(name, line)
        for possible in body._possible:  # noqa: SLF001
            self._may_change(possible.name, possible.call, possible.line)
        self._bind(node.name, "definition", node.lineno)
        self._later[node.name] = body.methods

    def visit_Lambda(self, node: ast.Lambda) -> None:
        for part in outer_parts(node):
            self.visit(part)
        self._at_once(node, [node.body])

    def visit_ListComp(self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) -> None:
        self.visit(node.generators[0].iter)
        parts = comprehension_parts(node)
        targets = {name: self._parts_of(g.iter) for g in node.generators for name in names_bound([g.target])}
        self._at_once(node, parts, targets)
        walrus = sorted(walrus_names(node))
        before = self._copy()
        for name in walrus:
            self._bind(name, "data", node.lineno)
        self._together(before, self._sure)
        self._is_async |= any(generator.is_async for generator in node.generators)
        self._is_async |= any(isinstance(part, ast.Await) for part in walk_scope(parts))

    visit_SetComp = visit_DictComp = visit_GeneratorExp = visit_ListComp  # noqa: N815 - the names are those of `ast`

    def _at_once(
        self, node: ast.AST, parts: Sequence[ast.AST], targets: dict[str, frozenset[str]] | None = None
    ) -> None:
        """Follow a lambda or comprehension where it stands: they are nearly always run there."""
        free = inner(node).reads - walrus_names(node)
        for part in walk_scope(parts):
            if isinstance(part, ast.Call):
                self._names_in_text(part)
        for name in sorted(free):
            self._read(name, node.lineno)  # type: ignore[attr-defined]
        _, possible = changes_inside(parts)
        for one in possible:
            for root in (targets or {}).get(one.name, frozenset({one.name} & free)):
                self._may_change(root, one.call, one.line)

    # Expressions

    def visit_Name(self, node: ast.Name) -> None:
        self._read(node.id, node.lineno)

    def visit_Await(self, node: ast.Await) -> None:
        self._is_async = True
        self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        self._discarded = node.value
        self.visit(node.value)

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        self._names_in_text(node)
        changed = changed_by_call(node, discarded=node is self._discarded)
        if changed is not None:
            self._may_change(changed, short_text(node), node.lineno)

    def _names_in_text(self, node: ast.Call) -> None:
        """Read the names that pandas looks up itself: `df.query("x > @limit")`."""
        if not (isinstance(node.func, ast.Attribute) and node.func.attr in _LOOKS_UP_NAMES and node.args):
            return
        text = node.args[0]
        if isinstance(text, ast.Constant) and isinstance(text.value, str):
            for name in _AT_NAME.findall(text.value):
                self._read(name, node.lineno)

    def _parts_of(self, iterable: ast.expr) -> frozenset[str]:
        """Return the names whose elements a loop over this hands out."""
        if isinstance(iterable, (ast.List, ast.Tuple, ast.Set)):
            return frozenset[str]().union(
                *(self._roots(part.id) for part in iterable.elts if isinstance(part, ast.Name))
            )
        if isinstance(iterable, ast.Call):
            function = iterable.func
            if _called(iterable) not in _THROUGH:
                return frozenset()
            sources = [*iterable.args, *([function.value] if isinstance(function, ast.Attribute) else [])]
            return frozenset[str]().union(*(self._parts_of(source) for source in sources))
        root = root_of(iterable) if isinstance(iterable, (ast.Attribute, ast.Subscript)) else None
        if isinstance(iterable, ast.Name):
            root = iterable.id
        return self._roots(root) if root is not None else frozenset()


class _ClassFlow(_Flow):
    """The body of a class: it runs at once, its functions do not, and they do not see its names."""

    def __init__(self) -> None:
        super().__init__()
        self.methods: list[_Later] = []

    def visit_FunctionDef(self, node: FunctionNode) -> None:
        for part in outer_parts(node):
            self.visit(part)
        self._bind(node.name, "definition", node.lineno)
        self.methods.append(_later(node))

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815 - the names are those of `ast`

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        super().visit_ClassDef(node)
        self.methods += self._later.pop(node.name, [])

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.visit(node.annotation)
        super().visit_AnnAssign(node)

    def wanted(self, node: ast.ClassDef) -> dict[str, int]:
        """Return what the class body reads from outside, refusing what a function cannot give it."""
        for name, line in self._reads.items():
            if name in self._bound:
                message = (
                    f"class {node.name!r} reads {name!r} of the cell and then sets its own {name!r}, which works at "
                    "the top of a module but not inside a function; give one of the two another name"
                )
                raise Conflict(message, line)
        return self._reads


def _later(node: FunctionNode) -> _Later:
    want = inner(node)
    changes, possible = changes_inside(node.body)
    return _Later(
        want,
        tuple((name, line) for name, line in changes if name in want.reads),
        tuple(one for one in possible if one.name in want.reads),
        node.lineno,
    )


def _called(node: ast.expr) -> str:
    """Return the last part of the name of what is called."""
    function = node.func if isinstance(node, ast.Call) else node
    return function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")


def _matches_everything(pattern: ast.pattern) -> bool:
    return isinstance(pattern, ast.MatchAs) and (pattern.pattern is None or _matches_everything(pattern.pattern))


def _import_one(node: ast.ImportFrom, alias: ast.alias) -> ast.ImportFrom:
    return ast.ImportFrom(node.module, [alias], node.level)
