"""Derived names of a cell: where values came from that it changes in place.

Pure, and on the safe side: what an expression gives may be a part of anything that it mentions, as
`first_row = table.row(0)` is. What is wrongly found costs a wait.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

_IN_PLACE = frozenset({"out", "inplace"})


def changed_sources(tree: ast.Module) -> set[str]:
    r"""Return the names from which the values came that code changes in place under names of its own.

    Examples
    --------
    >>> sorted(changed_sources(ast.parse("row = table.row(0)\nrow[:] = 0")))
    ['row', 'table']
    >>> sorted(changed_sources(ast.parse("top = max(rows)\nfor part in top.parts(k): part.sort()")))
    ['k', 'max', 'part', 'rows', 'top']
    >>> changed_sources(ast.parse("y = f(x)\nprint(y.mean())"))
    {'print'}
    """
    sources: dict[str, set[str]] = {}
    changed: set[str] = set()
    for node in ast.walk(tree):
        for target, value in _bindings(node):
            for one in ast.walk(target):
                if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store):
                    sources.setdefault(one.id, set()).update(_names(value))
        changed.update(_changed(node))
    found: set[str] = set()
    while changed:
        name = changed.pop()
        if name not in found:
            found.add(name)
            changed |= sources.get(name, set())
    return found


def _bindings(node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    if isinstance(node, ast.Assign):
        for target in node.targets:
            yield target, node.value
    elif isinstance(node, (ast.AnnAssign, ast.NamedExpr, ast.AugAssign)) and node.value is not None:
        yield node.target, node.value
    elif isinstance(node, (ast.For, ast.AsyncFor, ast.comprehension)):
        yield node.target, node.iter
    elif isinstance(node, ast.withitem) and node.optional_vars is not None:
        yield node.optional_vars, node.context_expr


def _changed(node: ast.AST) -> Iterator[str]:
    """Yield the names whose values a node may change in place."""
    if isinstance(node, (ast.Subscript, ast.Attribute)) and not isinstance(node.ctx, ast.Load):
        yield from _root(node)
    elif isinstance(node, ast.AugAssign):
        yield from _root(node.target)
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield from _root(node.value)
    elif isinstance(node, ast.keyword) and node.arg in _IN_PLACE:
        yield from _names(node.value)
    if isinstance(node, ast.Call) and any(keyword.arg in _IN_PLACE for keyword in node.keywords):
        yield from _root(node)


def _root(node: ast.AST) -> Iterator[str]:
    while isinstance(node, (ast.Subscript, ast.Attribute, ast.Call, ast.Await)):
        node = node.func if isinstance(node, ast.Call) else node.value
    if isinstance(node, ast.Name):
        yield node.id


def _names(node: ast.AST) -> Iterator[str]:
    for one in ast.walk(node):
        if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load):
            yield one.id
