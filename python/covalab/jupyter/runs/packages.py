"""Missing packages of a notebook: what its cells import and its interpreter does not have, found before a run."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.machinery import PathFinder
from typing import Final

import msgspec

from covalab.jupyter.cells.ipython_lines import parse_for_session

_CHANGES_PATH: Final = re.compile(
    r"\b(pip3?|conda|mamba|micromamba|uv|apt(-get)?)[ \t]+(\S+[ \t]+){0,8}(install|add)\b"
    r"|\bsys\.(path|modules|meta_path)\b|\bos\.chdir\b|\bsite\.addsitedir\b"
    r"|^\s*%cd\b|^\s*%%(writefile|file)\b|\.py['\"]",
    re.MULTILINE,
)
"""What may make a module importable that is not there yet."""


class MissingImport(msgspec.Struct, frozen=True):
    """Package that is not there, and the number of the first cell that imports it, from 1 on."""

    package: str
    cell: int


def missing_imports(texts: Sequence[str], path: Sequence[str]) -> list[MissingImport]:
    """Return the packages that cells import and that this interpreter cannot find.

    Imports inside functions, `try` and `if` are not looked at: the cell may run without them. Neither is anything from
    a cell on that installs packages or changes the search path.

    Parameters
    ----------
    texts
        The cells that run, in order.
    path
        The search path that they will have.
    """
    found: dict[str, MissingImport] = {}
    is_there: dict[str, bool] = {}
    for number, text in enumerate(texts, 1):
        if _CHANGES_PATH.search(text):
            break
        for package in imports_of(text):
            if package not in is_there:
                is_there[package] = can_import(package, path)
            if not is_there[package]:
                found.setdefault(package, MissingImport(package, number))
    return list(found.values())


def imports_of(text: str) -> list[str]:
    r"""Return the top-level packages that a cell imports in any case.

    Examples
    --------
    >>> imports_of("import numpy as np, a.b\nfrom .c import d\ntry: import e\nexcept ImportError: pass")
    ['numpy', 'a']
    """
    try:
        tree, _ = parse_for_session(text + "\n", "<cell>", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    except (SyntaxError, ValueError, RecursionError):
        return []
    return [name.partition(".")[0] for name in _imported(tree.body)]


def _imported(statements: Iterable[ast.stmt]) -> Iterator[str]:
    for statement in statements:
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom) and not statement.level and statement.module:
            yield statement.module
        # `with suppress(ImportError):` lets it be missing.
        elif isinstance(statement, (ast.With, ast.AsyncWith)) and not any(
            "suppress" in ast.unparse(item.context_expr) for item in statement.items
        ):
            yield from _imported(statement.body)


def can_import(package: str, path: Sequence[str]) -> bool:
    """Return whether a package can be found, without importing it."""
    if package in sys.builtin_module_names or package in sys.stdlib_module_names or package == "__main__":
        return True
    try:
        if PathFinder.find_spec(package, list(path)) is not None:
            return True
        finders = (getattr(finder, "find_spec", None) for finder in sys.meta_path if finder is not PathFinder)
        return any(find is not None and find(package, None, None) is not None for find in finders)
    except (ImportError, ValueError, OSError):  # a finder that fails says nothing about whether it is there
        return True


def missing_message(missing: Sequence[MissingImport], python: str) -> str:
    """Return the sentence about all packages that are missing."""
    names = ", ".join(f"{one.package} (cell {one.cell})" for one in missing)
    packages = " ".join(one.package for one in missing)
    return (
        f"nothing was run: {python} has no {names}; install {'it' if len(missing) == 1 else 'them'} "
        f"(`{python} -m pip install {packages}`, if the package is called so), run with --kernel-env to use the "
        "notebook's own kernel, or with --no-check"
    )
