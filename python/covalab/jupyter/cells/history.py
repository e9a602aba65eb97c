"""Cells that read what other cells have shown: `_`, `Out`, `In`. Nothing before them may be left out. Pure.

The annotations of the notebook are no value that is stored either.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

_NAME: Final = re.compile(r"_|__|___|_\d+|_i+|_i\d+|_[iod]h|In|Out|__annotations__")
_MAGIC: Final = re.compile(r"%(history|hist|recall|rerun|rep|save|macro|pastebin|notebook|edit|ed)\b")
_DYNAMIC: Final = re.compile(r"\b(eval|exec|globals|locals|vars|user_ns)\b")
_WORD: Final = re.compile(r"\w+")
_INSIDE: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def number_before_history(cells: Sequence[tuple[str, ast.AST]]) -> int:
    """Return how many cells, from the first on, must run because one of them, or one after them, reads the history.

    Parameters
    ----------
    cells
        The text and the code of each.

    Examples
    --------
    >>> def number(*texts):
    ...     return number_before_history([(text, ast.parse(text)) for text in texts])
    >>> number("1", "for _ in 'ab': pass", "x = 2")
    0
    >>> number("1", "x = _ + 1", "x")
    2
    >>> number("x: int = 1", "y = 2", "__annotations__")
    3
    >>> number("1", "eval('_')", "'_'.join('ab')")
    2
    >>> number("1", "[_ for _ in 'ab']", "f = lambda _: _")
    0
    >>> number("def last(): return Out", "1", "2", "last()")  # it may be called anywhere
    4
    """
    found = 0
    for number, (text, tree) in enumerate(cells, 1):
        has_texts = _DYNAMIC.search(text) is not None  # `globals()["Out"]`, `eval("_ + 1")`
        if any(map(_NAME.fullmatch, _free_names(tree, has_texts, at_once=False))):
            return len(cells)
        if _MAGIC.search(text) or any(map(_NAME.fullmatch, _free_names(tree, has_texts, at_once=True))):
            found = number
    return found


def _free_names(tree: ast.AST, has_texts: bool, *, at_once: bool) -> Iterator[str]:
    """Yield names that code reads and that are not its own: those read at once, or those in functions."""
    pending: list[tuple[ast.AST, frozenset[str], bool]] = [(tree, frozenset(), False)]
    while pending:
        node, own, is_inside = pending.pop()
        if isinstance(node, _INSIDE):
            own, is_inside = own | _bound(node), True
        elif isinstance(node, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
            own |= _stored(generator.target for generator in node.generators)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id not in own:
            if is_inside is not at_once:
                yield node.id
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and has_texts and is_inside is not at_once:
            yield from _WORD.findall(node.value)
        pending += [(child, own, is_inside) for child in ast.iter_child_nodes(node)]


def _bound(function: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> frozenset[str]:
    parameters = {node.arg for node in ast.walk(function.args) if isinstance(node, ast.arg)}
    declared = {name for node in ast.walk(function) if isinstance(node, ast.Global) for name in node.names}
    return frozenset((_stored([function]) | parameters) - declared)


def _stored(nodes: Iterable[ast.AST]) -> frozenset[str]:
    return frozenset(
        one.id
        for node in nodes
        for one in ast.walk(node)
        if isinstance(one, ast.Name) and not isinstance(one.ctx, ast.Load)
    )
