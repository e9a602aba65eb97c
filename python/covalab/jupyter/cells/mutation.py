"""In-place changes of values by a piece of code, sure and possible ones, judged by how it is written. Pure."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Final

import msgspec

from covalab.jupyter.cells.scopes import walk_scope

MUTATORS: Final = frozenset({
    # list, set, dict, deque
    "append", "appendleft", "extend", "extendleft", "insert", "remove", "pop", "popleft", "popitem", "clear", "sort",
    "reverse", "rotate", "update", "setdefault", "discard", "difference_update", "intersection_update",
    "symmetric_difference_update", "move_to_end",
    # arrays, estimators, modules, optimizers, random generators
    "itemset", "setflags", "partial_fit", "fit", "fit_transform", "fit_predict", "set_params", "shuffle",
    "zero_grad", "backward", "load_state_dict", "load_weights", "requires_grad_", "zero_", "add_", "mul_", "copy_",
    # figures, graphs
    "set_title", "set_xlabel", "set_ylabel", "set_xlim", "set_ylim", "set_xticks", "set_yticks",
    "add_edge", "add_edges_from", "add_node", "add_nodes_from", "remove_node", "remove_edge",
})  # fmt: skip
"""Methods that usually change the object they are called on, whatever is done with what they return."""

_HARMLESS: Final = (
    "show", "plot", "hist", "bar", "scatter", "head", "tail", "info", "describe", "display", "print", "to_", "save",
    "export", "dump", "log", "debug", "warning", "error", "summary", "assert", "check", "validate", "test", "score",
    "predict", "close", "flush", "wait", "join", "sleep", "memory_usage", "value_counts", "mean", "sum", "max", "min",
)  # fmt: skip
"""Prefixes of methods that are called to show or write something, without using what they return."""

_CHANGES_ARGUMENT: Final = frozenset({
    "shuffle", "heappush", "heappop", "heapify", "heapreplace", "heappushpop", "insort", "insort_left", "insort_right",
    "copyto", "put", "place", "putmask", "fill_diagonal", "setattr", "delattr", "setitem", "delitem",
})  # fmt: skip
"""Functions that change their first argument."""


class PossibleChange(msgspec.Struct, frozen=True):
    """A call that may change the value of `name` in place, as the code writes it."""

    name: str
    call: str
    line: int


def changed_by_call(node: ast.Call, *, discarded: bool = False) -> str | None:
    """Return the name whose value a call may change in place. `discarded`: its return value is not used.

    Examples
    --------
    >>> calls = "rows.append(1)", "df.drop(c, inplace=True)", "random.shuffle(cards)", "df.mean()"
    >>> [changed_by_call(ast.parse(call, mode="eval").body) for call in calls]
    ['rows', 'df', 'cards', None]
    """
    function = node.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    for keyword in node.keywords:
        if keyword.arg == "inplace" and isinstance(keyword.value, ast.Constant) and keyword.value.value is True:
            return root_of(function)
        if keyword.arg == "out":
            return root_of(keyword.value)
    if name in _CHANGES_ARGUMENT and node.args:
        return root_of(node.args[0])
    if isinstance(function, ast.Attribute) and (name in MUTATORS or (discarded and not name.startswith(_HARMLESS))):
        return root_of(function)
    return None


def changes_inside(nodes: Sequence[ast.AST]) -> tuple[list[tuple[str, int]], list[PossibleChange]]:
    """Return the changes that a nested scope makes when it runs: (name, line) pairs, and the possible ones."""
    changes: list[tuple[str, int]] = []
    possible: list[PossibleChange] = []
    discarded: set[int] = set()
    for node in walk_scope(nodes):
        if isinstance(node, ast.Expr):
            discarded.add(id(node.value))
        elif isinstance(node, (ast.Subscript, ast.Attribute)) and isinstance(node.ctx, (ast.Store, ast.Del)):
            root = root_of(node)
            if root is not None:
                changes.append((root, node.lineno))
        elif isinstance(node, ast.Call):
            changed = changed_by_call(node, discarded=id(node) in discarded)
            if changed is not None:
                possible.append(PossibleChange(changed, short_text(node), node.lineno))
    return changes, possible


def root_of(node: ast.expr) -> str | None:
    """Return `df` for `df`, `df.a` and `df.loc[x].b`; None for the value of a call or a literal."""
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None


def short_text(node: ast.AST) -> str:
    """Return code on one line, cut to 60 characters for a message."""
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 60 else f"{text[:59]}…"
