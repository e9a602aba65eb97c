"""Harmless uses of names: those by which a piece of code cannot change the value in place, nor keep a part of it.

Pure, and on the safe side: a use that is not known to be harmless counts as a change.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any, Final

import msgspec

_LOOKS: Final = frozenset({"print", "len", "str", "repr", "format", "display", "isinstance", "type", "bool", "float"})
"""Functions that only look at what they are given."""

_PASSES: Final = frozenset(
    {"sum", "min", "max", "sorted", "list", "tuple", "set", "enumerate", "zip", "any", "all", "abs", "round", "int"}
)
"""Functions whose result may hold parts of what they are given."""

_METHODS: Final[dict[str, frozenset[str]]] = {
    "pandas": frozenset(
        {
            *("head", "tail", "describe", "info", "mean", "sum", "min", "max", "std", "var", "median", "count"),
            *("nunique", "unique", "value_counts", "groupby", "agg", "aggregate", "sort_values", "sort_index"),
            *("merge", "join", "copy", "to_string", "isna", "isnull", "notna", "notnull", "dropna", "fillna", "drop"),
            *("rename", "reset_index", "set_index", "astype", "corr", "cov", "quantile", "cumsum", "diff", "shift"),
            *("pivot_table", "pivot", "melt", "nlargest", "nsmallest", "round", "abs", "isin", "between", "items"),
            *("tolist", "to_dict", "to_csv", "to_json", "idxmax", "idxmin", "sample", "duplicated", "drop_duplicates"),
        }
    ),
    "numpy": frozenset(
        {
            *("mean", "sum", "min", "max", "std", "var", "argmax", "argmin", "argsort", "cumsum", "cumprod", "dot"),
            *("copy", "round", "astype", "tolist", "any", "all", "nonzero", "prod", "item", "clip", "ptp", "trace"),
        }
    ),
    "builtins": frozenset({"copy", "count", "index", "get", "keys", "values", "items", "union", "intersection"}),
}
"""By the package of a type: methods that change nothing and give something new, or parts of what is flat."""

_FUNCTIONS: Final = frozenset(
    {
        *("mean", "sum", "std", "var", "min", "max", "sqrt", "exp", "log", "log10", "log2", "dot", "unique", "median"),
        *("percentile", "quantile", "where", "abs", "round", "sin", "cos", "tan", "cumsum", "diff", "concatenate"),
        *("allclose", "isclose", "isnan", "isfinite", "corrcoef", "histogram", "argsort", "argmax", "argmin"),
    }
)
"""Functions of numpy that change nothing and give something new."""


class Kind(msgspec.Struct, frozen=True):
    """Kind of a value: the package of its type, and whether it is flat, that is, holds nothing that can change."""

    package: str  # pandas, numpy or builtins
    is_flat: bool


ASSUMED: Final = _LOOKS | _PASSES
"""Names that are taken for the functions of Python."""


def changed_names(tree: ast.AST, kind_of: Callable[[str], Kind | None], module_of: Callable[[str], str]) -> set[str]:
    r"""Return the names in code whose values it may change in place, or a part of which it may keep.

    Parameters
    ----------
    tree
        The code.
    kind_of
        The kind of a name's value; None where any use may change it.
    module_of
        The module that a name stands for; empty if it stands for none.

    Examples
    --------
    >>> def names(text):
    ...     return sorted(changed_names(ast.parse(text), lambda name: Kind("pandas", True), lambda name: ""))
    >>> names("df.describe()\nprint(df['a'].mean(), a / 2, len(b))"), names("x = df['a']"), names("f(df)")
    ([], ['df'], ['df', 'f'])
    >>> names("df.dropna(inplace=True)"), names("df[df.a > 2].groupby('b').c.sum()"), names("df['a'][0] = 1")
    (['df'], [], ['df'])
    """
    parents = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id not in found:
            if module_of(node.id) or (node.id in ASSUMED and _is_called(node, parents)):
                continue
            kind = kind_of(node.id)
            if kind is None or not _is_harmless(node, kind, parents, module_of):
                found.add(node.id)
    return found


def _is_called(node: ast.expr, parents: dict[ast.AST, ast.AST]) -> bool:
    parent = parents.get(node)
    return isinstance(parent, ast.Call) and parent.func is node


def _is_harmless(node: ast.expr, kind: Kind, parents: dict[ast.AST, ast.AST], module_of: Callable[[str], str]) -> bool:
    """Return whether nothing can be changed by a use of a value, nor by one of the parts that lead from there."""
    current: Any = node
    while True:
        parent: Any = parents.get(current)
        if _is_called_on(parent, parents):
            return kind.is_flat and parent.attr in _METHODS[kind.package] and not _is_in_place(parents[parent])
        if not _is_part(parent, current, kind):
            return _is_last_use(parent, current, kind, module_of)
        current = parent


def _is_called_on(parent: Any, parents: dict[ast.AST, ast.AST]) -> bool:
    return isinstance(parent, ast.Attribute) and _is_called(parent, parents)


def _is_part(parent: Any, current: ast.AST, kind: Kind) -> bool:
    """Return whether an expression reads a part of a value: an item, or an attribute."""
    if isinstance(parent, ast.Subscript):
        return parent.value is current and isinstance(parent.ctx, ast.Load)
    return isinstance(parent, ast.Attribute) and isinstance(parent.ctx, ast.Load) and kind.package != "builtins"


def _is_last_use(parent: Any, current: ast.AST, kind: Kind, module_of: Callable[[str], str]) -> bool:
    """Return whether the code around a value looks at it, and gives nothing on that could be changed."""
    if isinstance(parent, ast.FormattedValue | ast.Expr | ast.Assert):
        return True
    if isinstance(parent, ast.If | ast.While):
        return parent.test is current
    if isinstance(parent, ast.Call):
        return current in parent.args and _is_looked_at(parent, kind, module_of)
    is_key = isinstance(parent, ast.Subscript) and parent.slice is current and isinstance(parent.ctx, ast.Load)
    is_iterated = isinstance(parent, ast.For | ast.comprehension) and parent.iter is current
    is_operand = isinstance(parent, ast.BinOp | ast.UnaryOp | ast.Compare)
    return kind.is_flat and (is_key or is_iterated or is_operand)


def _is_in_place(call: Any) -> bool:
    return any(one.arg in ("inplace", "out", "copy", None) for one in call.keywords)


def _is_looked_at(call: ast.Call, kind: Kind, module_of: Callable[[str], str]) -> bool:
    """Return whether a function only looks at its arguments."""
    function = call.func
    if isinstance(function, ast.Name):
        return function.id in _LOOKS or (function.id in _PASSES and kind.is_flat)
    if not isinstance(function, ast.Attribute) or not isinstance(function.value, ast.Name) or not kind.is_flat:
        return False
    module = module_of(function.value.id)
    is_of_numpy = module == "numpy" and function.attr in _FUNCTIONS and not _is_in_place(call)
    return is_of_numpy or module == "matplotlib.pyplot"
