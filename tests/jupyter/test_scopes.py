"""Free names of nested scopes are those that Python's own compiler finds."""

from __future__ import annotations

import ast
import symtable
import sys
from collections import defaultdict

import pytest
from tests.jupyter.corpus import Example, examples

from covalab.jupyter.cells.scopes import SCOPES, free_names, outer_parts, walk_scope

INLINED = (ast.ListComp, ast.SetComp, ast.DictComp) if sys.version_info >= (3, 12) else ()
"""Nodes that `symtable` no longer has as scopes, because the compiler puts them into the code around them."""


def plain(example: Example) -> bool:
    """Tell whether a cell is plain Python that `symtable` reads (it knows no `await` outside a function)."""
    try:
        symtable.symtable(example.code, "cell", "exec")
    except SyntaxError:
        return False
    return True


def free_names_by_python(table: symtable.SymbolTable) -> set[str]:
    """Return the names that a scope and those inside it take from the module."""
    here = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_global()}
    return here.union(*(free_names_by_python(child) for child in table.get_children()))


@pytest.mark.parametrize("example", [one for one in examples() if plain(one)], ids=lambda example: example.id)
def test_nested_scopes_are_resolved_as_the_compiler_does(example: Example) -> None:
    """For every scope at the top of a cell, the names that it takes from the cell are those of `symtable`."""
    theirs: dict[int, set[str]] = defaultdict(set)
    for child in symtable.symtable(example.code, "cell", "exec").get_children():
        theirs[child.get_lineno()] |= free_names_by_python(child)
    ours: dict[int, set[str]] = defaultdict(set)
    for node in walk_scope(ast.parse(example.code).body):
        if isinstance(node, SCOPES) and not isinstance(node, INLINED):
            found = free_names(node)
            ours[node.lineno] |= found.reads | found.sets

    assert ours == theirs


def test_defaults_and_decorators_belong_to_the_scope_around() -> None:
    """They are evaluated where the function is defined."""
    (function,) = ast.parse("@decorate\ndef f(a, b=default, *, c: kind = other) -> result: return body").body

    names = {node.id for part in outer_parts(function) for node in ast.walk(part) if isinstance(node, ast.Name)}

    assert names == {"decorate", "default", "kind", "other", "result"}
    assert free_names(function).reads == {"body"}
