"""Packages that a cell has to do with: by what it imports, and by the values of the notebook that it reaches.

They decide which settings may matter to it, and whether it may draw from the global random generators.
"""

from __future__ import annotations

import ast
import gc
import itertools
import random
import sys
import types
from collections.abc import Iterable, Mapping
from typing import Any, Final

from covalab.core.plain_types import ATOMS

_MAIN: Final = "__main__"
_OBJECTS_LIMIT: Final = 10_000
_ITEMS_LIMIT: Final = 1_000
_ENTERED: Final = (list, tuple, dict, set, frozenset)
_OWN: Final = frozenset({"Generator", "RandomState"})
_DRAWING: Final = frozenset({"random", "numpy.random"})
_READING: Final = frozenset({"bs4", "covalab", "dateutil", "lxml", "pyarrow", "pytz", "requests", "sqlalchemy", "yaml"})
_NEVER_DRAW: Final = _READING | {
    *("IPython", "PIL", "altair", "ipywidgets", "matplotlib", "mpl_toolkits", "numpy", "pandas", "plotly", "polars"),
    *("pydantic", "sympy", "tabulate", "tqdm", "traitlets", "xarray"),
}
"""Packages that draw from a global generator only where a word says so (`np.random`, `sample`)."""
_DRAWING_WORDS: Final = frozenset({"random", "seed", "sample", "shuffle"})


def packages_used(tree: ast.Module, values: Iterable[object], words: Iterable[str]) -> set[str]:
    """Return the packages of code: not those of Python itself, but `random` and `numpy.random` for their own functions.

    Parameters
    ----------
    tree
        The code.
    values
        What its names mean.
    words
        The words in functions and classes among these values, which may import by themselves.
    """
    found = {_top(name) for node in ast.walk(tree) for name in _imported(node)}
    found |= {_top(word) for word in words if word in sys.modules or "." in word}
    for value in _parts(values):
        found |= _packages_of(value)
    return {name for name in found if name in _DRAWING or name not in sys.stdlib_module_names} - {_MAIN, "builtins", ""}


def is_generator(value: object) -> bool:
    """Return whether a value is a generator of random numbers of the notebook's own."""
    kind = type(value)
    return isinstance(value, random.Random) or (_top(str(kind.__module__)) == "numpy.random" and kind.__name__ in _OWN)


def may_draw(tree: ast.Module, packages: set[str], words: set[str]) -> bool:
    """Return whether code may draw from a global generator: of itself, or in a package that may."""
    if not _DRAWING_WORDS.isdisjoint(words):
        return True
    runs_code = any(isinstance(node, (ast.Call, ast.With, ast.For, ast.comprehension)) for node in ast.walk(tree))
    return runs_code and bool(packages - _NEVER_DRAW)


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []


def _top(name: str) -> str:
    return "numpy.random" if name.startswith("numpy.random") else name.partition(".")[0]


def _packages_of(value: object) -> set[str]:
    if isinstance(value, types.ModuleType):
        name = value.__name__
        return {_top(name)} if name != "random" else set()  # whether it draws, a word says
    kind = type(value)
    if is_generator(value):
        return set()
    if isinstance(value, (type, types.FunctionType)):
        return {_top(str(value.__module__))}
    owner = getattr(value, "__self__", None) if isinstance(value, (types.MethodType, types.BuiltinMethodType)) else None
    found = {_top(str(kind.__module__))}
    if owner is not None and not isinstance(owner, types.ModuleType):
        found.add(_top(str(type(owner).__module__)))
    return found


def _inside(value: Any) -> Iterable[object]:
    """Return some of what is in a container, or what an object of the notebook refers to."""
    if type(value) in _ENTERED:
        return itertools.islice(value.values() if type(value) is dict else value, _ITEMS_LIMIT)
    return gc.get_referents(value) if type(value).__module__ == _MAIN else ()


def _parts(values: Iterable[object]) -> list[object]:
    """Return values, and what is in containers and objects of the notebook among them, up to a limit."""
    found: dict[int, object] = {}
    level = list(values)
    while level and len(found) < _OBJECTS_LIMIT:
        fresh = {id(one): one for one in level if id(one) not in found and type(one) not in ATOMS}
        found |= fresh
        level = [*itertools.islice((part for one in fresh.values() for part in _inside(one)), _OBJECTS_LIMIT)]
    return list(found.values())


_SETTINGS_OF_OTHERS: Final[Mapping[str, frozenset[str]]] = {
    "matplotlib": _READING | {"IPython", "PIL", "numpy", "polars", "sympy", "tqdm"},
    "pandas": _READING | {"IPython", "PIL", "matplotlib", "mpl_toolkits", "numpy", "polars", "sympy"},
    "numpy": frozenset(),
}
"""By package: those that do not use its settings."""


def settings_used(tree: ast.Module, packages: set[str]) -> set[str]:
    """Return whose settings may matter to code: of packages, and `""` for those of the process and all others.

    Examples
    --------
    >>> sorted(settings_used(ast.parse("n = 3"), set()))
    []
    >>> sorted(settings_used(ast.parse("print(n / 3)"), set()))
    ['']
    >>> sorted(settings_used(ast.parse("a.mean()"), {"numpy"}))
    ['', 'numpy']
    """
    if all(map(_does_nothing, tree.body)):
        return set()
    return {"", *(name for name, without in _SETTINGS_OF_OTHERS.items() if packages - without)}


def _does_nothing(node: ast.stmt) -> bool:
    """Return whether a statement only names constants, other names, or functions."""
    if isinstance(node, ast.FunctionDef):
        return not node.decorator_list and not node.args.defaults and not any(node.args.kw_defaults)
    if isinstance(node, ast.Assign):
        return all(isinstance(target, ast.Name) for target in node.targets) and _is_plain(node.value)
    return isinstance(node, ast.Pass)


def _is_plain(node: ast.expr) -> bool:
    if isinstance(node, (ast.List, ast.Tuple)):
        return all(map(_is_plain, node.elts))
    return isinstance(node, (ast.Constant, ast.Name))
