"""Free names of nested scopes: what functions, lambdas, comprehensions and classes use of the code around them. Pure.

Order does not matter inside a nested scope, so this is the resolution that Python's own compiler makes; `dataflow`
follows the statements of a cell in order.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TypeAlias

import msgspec

FunctionNode: TypeAlias = "ast.FunctionDef | ast.AsyncFunctionDef"
_FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef)
_COMPREHENSIONS: Final = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
SCOPES: Final = (*_FUNCTIONS, ast.Lambda, ast.ClassDef, *_COMPREHENSIONS)


def walk_scope(nodes: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Yield the nodes that run in this scope: nested functions, classes and comprehensions are yielded, not entered.

    Their decorators, defaults and first iterables do belong to this scope.
    """
    stack = list(nodes)[::-1]
    while stack:
        node = stack.pop()
        yield node
        stack.extend(reversed(outer_parts(node) if isinstance(node, SCOPES) else list(ast.iter_child_nodes(node))))


def outer_parts(node: ast.AST) -> list[ast.AST]:
    """Return the parts of a nested scope that are evaluated outside it, at once."""
    if isinstance(node, (*_FUNCTIONS, ast.Lambda)):
        arguments = node.args
        parts: list[ast.AST | None] = [*arguments.defaults, *arguments.kw_defaults]
        if isinstance(node, _FUNCTIONS):
            parts = [*node.decorator_list, *parts]
            every = [*arguments.posonlyargs, *arguments.args, arguments.vararg, *arguments.kwonlyargs, arguments.kwarg]
            parts += [argument.annotation for argument in every if argument is not None]
            parts.append(node.returns)
        return [part for part in parts if part is not None]
    if isinstance(node, ast.ClassDef):
        return [*node.decorator_list, *node.bases, *(keyword.value for keyword in node.keywords)]
    if isinstance(node, _COMPREHENSIONS):
        return [node.generators[0].iter]
    return []


def names_bound(nodes: Iterable[ast.AST]) -> set[str]:
    """Return the names that these nodes bind in the scope they are in (walrus in a comprehension included)."""
    found: set[str] = set()
    for node in walk_scope(nodes):
        found.update(_bound_by(node))
        if isinstance(node, _COMPREHENSIONS):
            found.update(walrus_names(node))
    return found


def _bound_by(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Name) and isinstance(node.ctx, (ast.Store, ast.Del)):
        yield node.id
    elif isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
        yield node.name
    elif isinstance(node, (ast.Import, ast.ImportFrom)):
        yield from (bound_name(alias) for alias in node.names)
    elif isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)) and node.name:
        yield node.name
    elif isinstance(node, ast.MatchMapping) and node.rest:
        yield node.rest


def bound_name(alias: ast.alias) -> str:
    """Return the name that one part of an import statement binds."""
    return alias.asname or alias.name.partition(".")[0]


def walrus_names(node: ast.AST) -> set[str]:
    """Return the names that `:=` sets in a comprehension; they belong to the scope around it."""
    return {
        inner.target.id
        for inner in ast.walk(node)
        if isinstance(inner, ast.NamedExpr) and isinstance(inner.target, ast.Name)
    }


def declared(nodes: Iterable[ast.AST], kind: type[ast.Global | ast.Nonlocal]) -> set[str]:
    """Return the names that these nodes declare `global` (or `nonlocal`) in the scope they are in."""
    return {name for node in walk_scope(nodes) if isinstance(node, kind) for name in node.names}


def _parameters(arguments: ast.arguments) -> set[str]:
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    return {argument.arg for argument in every if argument is not None}


def type_parameters(node: ast.AST) -> set[str]:
    """Return the `T` of `def f[T]()`, `class A[T]` and `type X[T]` (Python 3.12 and newer)."""
    return {parameter.name for parameter in getattr(node, "type_params", ())}


class FreeNames(msgspec.Struct, frozen=True):
    """Names of outer scopes that a nested scope reads, and those that it sets there (`global`)."""

    reads: frozenset[str]
    sets: frozenset[str] = frozenset()


def free_names(node: ast.AST) -> FreeNames:
    """Return the free names inside a function, lambda, comprehension or class; `outer_parts` are not inside."""
    if isinstance(node, (*_FUNCTIONS, ast.Lambda)):
        body: list[ast.AST] = [node.body] if isinstance(node, ast.Lambda) else list(node.body)
        outside = declared(body, ast.Global)
        # `global` and `nonlocal` names are bound in the body, but belong to the scopes around it.
        own = (_parameters(node.args) | names_bound(body) | type_parameters(node)) - outside
        own -= declared(body, ast.Nonlocal)
        found = used_names(body)
        sets = frozenset(names_bound(body) & outside) | found.sets
        return FreeNames((found.reads - own) | (names_bound(body) & declared(body, ast.Nonlocal)), sets)
    if isinstance(node, _COMPREHENSIONS):
        parts = comprehension_parts(node)
        own = {name for generator in node.generators for name in names_bound([generator.target])}
        found = used_names(parts)
        return FreeNames(found.reads - own, found.sets)
    if isinstance(node, ast.ClassDef):
        # A class body runs at once and sees its own names; functions in it run later and do not.
        immediate = {
            part.id for part in walk_scope(node.body) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load)
        }
        own = names_bound(node.body)
        nested = [free_names(part) for part in walk_scope(node.body) if isinstance(part, SCOPES)]
        deep = frozenset[str]().union(*(free.reads for free in nested))
        return FreeNames(
            frozenset((immediate - own) | deep) - type_parameters(node),
            used_names(node.body).sets | (own & declared(node.body, ast.Global)),
        )
    return FreeNames(frozenset())


def comprehension_parts(node: ast.AST) -> list[ast.AST]:
    """Return what is evaluated inside a comprehension: everything but the first iterable."""
    assert isinstance(node, _COMPREHENSIONS)
    parts: list[ast.AST] = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
    for position, generator in enumerate(node.generators):
        parts += [generator.target, *generator.ifs]
        if position:
            parts.append(generator.iter)
    return parts


def used_names(nodes: Sequence[ast.AST]) -> FreeNames:
    """Return the names that nodes in one scope use, nested scopes included, before that scope's own are taken off."""
    reads: set[str] = set()
    sets: set[str] = set()
    for node in walk_scope(nodes):
        if isinstance(node, ast.Name) and isinstance(node.ctx, (ast.Load, ast.Del)):
            reads.add(node.id)
        elif isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name):
            reads.add(node.target.id)
        elif isinstance(node, SCOPES):
            free = free_names(node)
            reads |= free.reads
            sets |= free.sets
    return FreeNames(frozenset(reads), frozenset(sets))
