"""Data flow of a cell: names that it reads from outside, sets and changes, in the order in which it runs.

Pure: an abstract run over the syntax tree (definite assignment analysis) that follows branches, loops and exceptions
without knowing what any name means. `cell` and `wiring` decide what the names stand for in a notebook; `name_state`
holds what is known at one point.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from typing import Final

import msgspec

from covalab.jupyter.cells.mutation import changed_by_call, changes_inside, root_of, short_text
from covalab.jupyter.cells.name_state import BindingKind, DeferredBody, NameState, Scope
from covalab.jupyter.cells.scopes import (
    FunctionNode,
    bound_name,
    comprehension_parts,
    free_names,
    names_bound,
    outer_parts,
    type_parameters,
    used_names,
    walk_scope,
    walrus_names,
)

_QUERY_METHODS: Final = frozenset({"query", "eval"})
_AT_NAME: Final = re.compile(r"@([^\W\d]\w*)")

_ITERATES: Final = frozenset({"enumerate", "zip", "reversed", "sorted", "iter", "list", "tuple", "items", "values"})
"""Calls that hand out the elements of their arguments, so that changing an element changes the container."""

_SUPPRESSES: Final = frozenset({"suppress", "raises", "assertRaises"})
"""Contexts that go on after an exception, so that their body may end anywhere."""


class Conflict(Exception):
    """Code that means something else at the top of a cell than inside a function; `line` counts within the block."""

    def __init__(self, message: str, line: int) -> None:
        self.message, self.line = message, line
        super().__init__(message, line)


def scan(body: Sequence[ast.stmt]) -> Scope:
    r"""Analyse a block of statements as the top level of a cell.

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
    # The block is run twice, because no single answer about loops is right. In `for x in xs: last = x` followed by
    # `print(last)`, `last` has no value if `xs` is empty. Taken strictly, nearly every cell with a loop would read the
    # names of that loop from outside and would get meaningless inputs. Taken loosely, an empty `xs` would be a
    # NameError on a worker for code that works in the notebook, where `last` may be left from an earlier cell.
    exact, likely = _Flow(), _Flow(loops_run=True)
    exact.block(body)
    likely.block(body)
    # So inputs are those of the likely run, in which every loop runs at least once ...
    strict, scope = exact.names.result(), likely.names.result()
    # ... and "sure" is what the exact run says: an output that an empty loop leaves unset must be allowed for.
    sure = {name for name, binding in strict.bindings.items() if binding.sure}
    bindings = {
        name: msgspec.structs.replace(binding, sure=name in sure, likely=binding.sure)
        for name, binding in scope.bindings.items()
    }
    # The difference between the runs: inputs that only an empty loop would need. `cell` takes them from other cells.
    empty = {name: line for name, line in strict.reads.items() if name not in scope.reads}
    return msgspec.structs.replace(scope, bindings=bindings, reads_after_empty=empty)


class _Loop:
    """Names that are sure at each `break` and each `continue` of one loop."""

    def __init__(self) -> None:
        self.breaks: list[set[str] | None] = []
        self.continues: list[set[str] | None] = []


class _Flow(ast.NodeVisitor):
    """The abstract run over statements in execution order.

    With `loops_run` every loop is taken to run at least once; without it, a loop may also do nothing.
    """

    def __init__(self, *, loops_run: bool = False) -> None:
        self.names = NameState()
        self._loops_run = loops_run
        self._loops: list[_Loop] = []
        self._branches = 0  # depth of code that may be left out: an import there is not always done
        self._discarded: ast.expr | None = None  # expression whose value is thrown away: it was called for its effect

    def block(self, body: Sequence[ast.stmt]) -> None:
        """Run statements in order."""
        for statement in body:
            self.visit(statement)

    # Branches

    def _maybe_run(self, *nodes: ast.AST) -> None:
        """Visit what may not be evaluated at all."""
        before = self.names.copy()
        for node in nodes:
            self.visit(node)
        self.names.join([before, self.names.sure])

    def visit_If(self, node: ast.If) -> None:
        self.visit(node.test)
        self._branches += 1
        before = self.names.copy()
        self.block(node.body)
        after_body, self.names.sure = self.names.sure, before
        self.block(node.orelse)
        self.names.join([after_body, self.names.sure])
        self._branches -= 1

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self.visit(node.test)
        before = self.names.copy()
        self.visit(node.body)
        after_body, self.names.sure = self.names.sure, before
        self.visit(node.orelse)
        self.names.join([after_body, self.names.sure])

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        self.visit(node.values[0])
        self._maybe_run(*node.values[1:])  # `and` and `or` stop at the first value that decides

    def visit_Assert(self, node: ast.Assert) -> None:
        self.visit(node.test)
        if node.msg is not None:
            self._maybe_run(node.msg)

    def visit_For(self, node: ast.For | ast.AsyncFor) -> None:
        self.visit(node.iter)
        before = self.names.copy()
        # In every iteration but the first, names of the body may have a value from the one before.
        self.names.maybe |= names_bound([node.target, *node.body])
        self._branches += 1
        self._loops.append(_Loop())
        self._target(node.target, "target")
        for name in names_bound([node.target]):
            self.names.alias(name, self._element_roots(node.iter))
        self.block(node.body)
        loop = self._loops.pop()
        # The loop ends when the iterable does: after its body, after `continue`, or at once if it is empty.
        # Only the exact run counts the last of these.
        self.names.join([*([] if self._loops_run else [before]), self.names.sure, *loop.continues])
        self.block(node.orelse)
        # `break` skips `else`, so its names are joined only here.
        self.names.join([self.names.sure, *loop.breaks])
        self._branches -= 1

    def visit_AsyncFor(self, node: ast.AsyncFor) -> None:
        self.names.is_async = True
        self.visit_For(node)

    def visit_While(self, node: ast.While) -> None:
        # Before the test: it is evaluated again after each iteration, too.
        self.names.maybe |= names_bound([node.test, *node.body])
        self.visit(node.test)
        forever = isinstance(node.test, ast.Constant) and bool(node.test.value)
        before = None if forever else self.names.copy()
        self._branches += 1
        self._loops.append(_Loop())
        self.block(node.body)
        loop = self._loops.pop()
        # `while True` ends at a `break` only.
        ends = [] if forever else [self.names.sure, *loop.continues]
        self.names.join([*([] if self._loops_run else [before]), *ends])
        self.block(node.orelse)
        self.names.join([self.names.sure, *loop.breaks])
        self._branches -= 1

    def visit_Break(self, _node: ast.Break) -> None:
        if self._loops:
            self._loops[-1].breaks.append(self.names.sure)
        self.names.sure = None

    def visit_Continue(self, _node: ast.Continue) -> None:
        if self._loops:
            self._loops[-1].continues.append(self.names.sure)
        self.names.sure = None

    def visit_Raise(self, node: ast.Raise) -> None:
        self.generic_visit(node)
        self.names.sure = None

    def visit_Try(self, node: ast.Try) -> None:
        before = self.names.copy()
        self._branches += 1
        self.block(node.body)
        self.block(node.orelse)
        ends = [self.names.sure]
        for handler in node.handlers:
            # The body may have failed at its first statement, so a handler counts on nothing that it set.
            self.names.sure = None if before is None else set(before)
            self._handler(handler)
            ends.append(self.names.sure)
        self.names.join(ends)
        after_try = self.names.copy()
        # `finally` also runs when something failed, so it counts only on what was sure before and still is.
        self.names.sure = before if after_try is None or before is None else before & after_try
        entered_with = self.names.copy() or set()
        self.block(node.finalbody)
        self.names.leave_finally(after_try, entered_with)
        self._branches -= 1

    visit_TryStar = visit_Try

    def _handler(self, handler: ast.ExceptHandler) -> None:
        if handler.type is not None:
            self.visit(handler.type)
        if handler.name:
            self.names.bind(handler.name, "target", handler.lineno)
        self.block(handler.body)
        if handler.name:
            self.names.drop(handler.name)  # Python removes it when the handler ends

    def visit_With(self, node: ast.With | ast.AsyncWith) -> None:
        for item in node.items:
            self.visit(item.context_expr)
            if item.optional_vars is not None:
                self._target(item.optional_vars, "target")
        before = self.names.copy()
        suppresses = any(_called(item.context_expr) in _SUPPRESSES for item in node.items)
        self._branches += suppresses
        self.block(node.body)
        if suppresses:
            self._branches -= 1
            self.names.join([before, self.names.sure])

    def visit_AsyncWith(self, node: ast.AsyncWith) -> None:
        self.names.is_async = True
        self.visit_With(node)

    def visit_Match(self, node: ast.Match) -> None:
        self.visit(node.subject)
        before = self.names.copy()
        self._branches += 1
        ends: list[set[str] | None] = []
        is_exhaustive = False
        for case in node.cases:
            self.names.sure = None if before is None else set(before)
            self.visit(case.pattern)
            if case.guard is not None:
                self.visit(case.guard)
            self.block(case.body)
            ends.append(self.names.sure)
            is_exhaustive |= case.guard is None and _matches_everything(case.pattern)
        # Without a case for everything, `match` may also do nothing.
        self.names.join([*ends, None if is_exhaustive else before])
        self._branches -= 1

    def visit_MatchAs(self, node: ast.MatchAs) -> None:
        self.generic_visit(node)
        if node.name:
            self.names.bind(node.name, "target", node.lineno)

    def visit_MatchStar(self, node: ast.MatchStar) -> None:
        if node.name:
            self.names.bind(node.name, "target", node.lineno)

    def visit_MatchMapping(self, node: ast.MatchMapping) -> None:
        self.generic_visit(node)
        if node.rest:
            self.names.bind(node.rest, "target", node.lineno)

    # Statements that set names

    def visit_Assign(self, node: ast.Assign) -> None:
        self.visit(node.value)
        for target in node.targets:
            self._target(target, "data")
            if isinstance(target, ast.Name) and isinstance(node.value, ast.Name):
                # `b = a` makes a second name of one object. A name is no part of itself (`a = a`).
                self.names.alias(target.id, self.names.roots(node.value.id) - {target.id})

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        # The annotation is not evaluated once the cell is a function, so the names in it are not needed.
        if node.value is not None:
            self.visit(node.value)
            self._target(node.target, "data")
        elif not isinstance(node.target, ast.Name):
            self.visit(node.target)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.target, ast.Name):  # in the tree it is only stored to, but its old value is read
            self.names.read(node.target.id, node.lineno)
        self.visit(node.value)
        self._target(node.target, "data")

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.visit(node.value)
        self._target(node.target, "data")

    def visit_TypeAlias(self, node: ast.AST) -> None:
        """Follow `type X = ...` (Python 3.12 and newer)."""
        name = node.name  # type: ignore[attr-defined]
        used = used_names([node.value]).reads  # type: ignore[attr-defined]
        for read in sorted(used - type_parameters(node)):
            self.names.read(read, name.lineno)
        self.names.bind(name.id, "definition", name.lineno)

    def visit_Delete(self, node: ast.Delete) -> None:
        for target in node.targets:
            self._target(target, "data")

    def _target(self, target: ast.expr, kind: BindingKind) -> None:
        if isinstance(target, ast.Name):
            if isinstance(target.ctx, ast.Del):
                self.names.read(target.id, target.lineno)  # `del x` fails where `x` has no value
                self.names.unbind(target.id)
            else:
                self.names.bind(target.id, kind, target.lineno)
        elif isinstance(target, (ast.Tuple, ast.List)):
            for element in target.elts:
                self._target(element, kind)
        elif isinstance(target, ast.Starred):
            self._target(target.value, kind)
        else:
            # `a.b[c] = v` reads `a` and `c`, and changes the value of `a`.
            self.generic_visit(target)
            root = root_of(target)
            if root is not None:
                self.names.change(root, target.lineno)

    def visit_Import(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            one = ast.Import([alias]) if isinstance(node, ast.Import) else _import_one(node, alias)
            self.names.bind_import(
                bound_name(alias),
                node.lineno,
                ast.unparse(one),
                always=not self._branches,
                adds=alias.asname is None and "." in alias.name,
            )

    visit_ImportFrom = visit_Import

    # Nested scopes

    def visit_FunctionDef(self, node: FunctionNode) -> None:
        for part in outer_parts(node):
            self.visit(part)
        self.names.bind(node.name, "definition", node.lineno)
        self.names.defer(node.name, [_deferred(node)])

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for part in outer_parts(node):
            self.visit(part)
        body = _ClassFlow()
        body.block(node.body)
        outside = type_parameters(node)
        for name, line in body.outer_reads(node).items():
            if name not in outside:
                self.names.read(name, line)
        for name, line in body.names.changes.items():
            self.names.change(name, line)
        for possible in body.names.possible:
            self.names.may_change(possible.name, possible.call, possible.line)
        self.names.bind(node.name, "definition", node.lineno)
        self.names.defer(node.name, body.methods)

    def visit_Lambda(self, node: ast.Lambda) -> None:
        for part in outer_parts(node):
            self.visit(part)
        self._inline(node, [node.body])

    def visit_ListComp(self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) -> None:
        self.visit(node.generators[0].iter)
        parts = comprehension_parts(node)
        targets = {name: self._element_roots(g.iter) for g in node.generators for name in names_bound([g.target])}
        self._inline(node, parts, targets)
        before = self.names.copy()
        for name in sorted(walrus_names(node)):
            self.names.bind(name, "data", node.lineno)
        self.names.join([before, self.names.sure])  # a comprehension over nothing sets nothing
        self.names.is_async |= any(generator.is_async for generator in node.generators)
        self.names.is_async |= any(isinstance(part, ast.Await) for part in walk_scope(parts))

    visit_SetComp = visit_DictComp = visit_GeneratorExp = visit_ListComp

    def _inline(
        self, node: ast.AST, parts: Sequence[ast.AST], targets: dict[str, frozenset[str]] | None = None
    ) -> None:
        """Follow a lambda or comprehension where it is written: nearly all of them run there."""
        free = free_names(node).reads - walrus_names(node)
        for part in walk_scope(parts):
            if isinstance(part, ast.Call):
                self._names_in_text(part)
        for name in sorted(free):
            self.names.read(name, node.lineno)  # type: ignore[attr-defined]
        _, possible = changes_inside(parts)
        for one in possible:
            # Its own variables are parts of what it iterates over; other local names have no effect outside.
            for root in (targets or {}).get(one.name, frozenset({one.name} & free)):
                self.names.may_change(root, one.call, one.line)

    # Expressions

    def visit_Name(self, node: ast.Name) -> None:
        self.names.read(node.id, node.lineno)

    def visit_Await(self, node: ast.Await) -> None:
        self.names.is_async = True
        self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        self._discarded = node.value
        self.visit(node.value)

    def visit_Call(self, node: ast.Call) -> None:
        self.generic_visit(node)
        self._names_in_text(node)
        changed = changed_by_call(node, discarded=node is self._discarded)
        if changed is not None:
            self.names.may_change(changed, short_text(node), node.lineno)

    def _names_in_text(self, node: ast.Call) -> None:
        """Read the names that pandas looks up itself: `df.query("x > @limit")`."""
        if not (isinstance(node.func, ast.Attribute) and node.func.attr in _QUERY_METHODS and node.args):
            return
        text = node.args[0]
        if isinstance(text, ast.Constant) and isinstance(text.value, str):
            for name in _AT_NAME.findall(text.value):
                self.names.read(name, node.lineno)

    def _element_roots(self, iterable: ast.expr) -> frozenset[str]:
        """Return the names whose elements a loop over this hands out."""
        if isinstance(iterable, (ast.List, ast.Tuple, ast.Set)):
            return frozenset[str]().union(
                *(self.names.roots(part.id) for part in iterable.elts if isinstance(part, ast.Name))
            )
        if isinstance(iterable, ast.Call):
            function = iterable.func
            if _called(iterable) not in _ITERATES:
                return frozenset()  # an unknown call makes new elements, as far as can be known
            # `d.items()` hands out of `d`, `zip(a, b)` out of `a` and `b`.
            sources = [*iterable.args, *([function.value] if isinstance(function, ast.Attribute) else [])]
            return frozenset[str]().union(*(self._element_roots(source) for source in sources))
        root = root_of(iterable) if isinstance(iterable, (ast.Attribute, ast.Subscript)) else None
        if isinstance(iterable, ast.Name):
            root = iterable.id
        return self.names.roots(root) if root is not None else frozenset()


class _ClassFlow(_Flow):
    """The body of a class: it runs at once, its functions do not, and they do not see its names."""

    def __init__(self) -> None:
        super().__init__()
        self.methods: list[DeferredBody] = []

    def visit_FunctionDef(self, node: FunctionNode) -> None:
        for part in outer_parts(node):
            self.visit(part)
        self.names.bind(node.name, "definition", node.lineno)
        # Deferred to the use of the class: a method cannot be called before that.
        self.methods.append(_deferred(node))

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        super().visit_ClassDef(node)
        self.methods += self.names.take_deferred(node.name)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.visit(node.annotation)  # unlike in a function, a class body evaluates it
        super().visit_AnnAssign(node)

    def outer_reads(self, node: ast.ClassDef) -> dict[str, int]:
        """Return the names that the class body reads from outside; refuse those that a function cannot give it."""
        for name, line in self.names.reads.items():
            # At module level such a read finds the global name. Inside a function, a name that the class body also
            # sets is looked up in the class and the globals only, and misses the function's variable.
            if self.names.is_bound(name):
                message = (
                    f"class {node.name!r} reads {name!r} of the cell and then sets its own {name!r}, which works at "
                    "the top of a module but not inside a function; give one of the two another name"
                )
                raise Conflict(message, line)
        return self.names.reads


def _deferred(node: FunctionNode) -> DeferredBody:
    free = free_names(node)
    changes, possible = changes_inside(node.body)
    return DeferredBody(
        free,
        # Changes to the function's own variables have no effect outside.
        tuple((name, line) for name, line in changes if name in free.reads),
        tuple(one for one in possible if one.name in free.reads),
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
