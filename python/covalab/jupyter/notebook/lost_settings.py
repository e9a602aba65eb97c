"""Settings of libraries that a cell sets in its own process, where the cells after it do not run.

The settings of the libraries that `namespace.hidden_state` knows travel. Of others nobody sees what a call has changed,
so it is told by its name: `jax.config.update("jax_enable_x64", True)`, `alt.data_transformers.disable_max_rows()`.
"""

from __future__ import annotations

import ast
import re
import types
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from covalab.worker.reuse.code import imported_in, root_of, settings_in

_TRAVEL: Final = frozenset(
    {
        *("numpy", "pandas", "matplotlib", "seaborn", "sklearn", "xarray", "polars", "plotly", "IPython", "logging"),
        *("decimal", "random", "warnings", "os", "sys", "locale", "gc", "socket", "threading", "multiprocessing"),
        *("signal", "csv", "time", "torch", "mpl_toolkits"),
    }
)
"""Packages whose settings travel, or of which calls with such names set none."""
_TRAVELLING_PART: Final = re.compile(r"\.(templates|Config|options|rcParams|environ)\b")
"""Parts of packages to which a value can be assigned, and which travel."""
_NO_SETTINGS: Final = frozenset({"builtins", "asyncio", "contextvars", "unittest", "networkx", "dataclasses", "enum"})
"""Packages of which calls with such names change a value that they are given, or this process alone."""


class LostSetting(NamedTuple):
    """Code that sets something in a package, and the line of the cell in which it is."""

    code: str
    package: str
    line: int


def lost_settings(tree: ast.AST, namespace: Mapping[str, Any]) -> list[LostSetting]:
    r"""Return what a cell sets in packages whose settings do not travel.

    Examples
    --------
    >>> lost_settings(ast.parse("import jax\njax.config.update('jax_enable_x64', True)"), {})
    [LostSetting(code='jax.config.update', package='jax', line=2)]
    >>> lost_settings(ast.parse("import pandas as pd\npd.set_option('display.width', 3)"), {})
    []
    """
    imported = {name: module.partition(".")[0] for name, module in imported_in(tree).items() if module}
    packages = {**_packages_in(namespace), **imported}
    # In `with package.config.set(...):` it is put back at the end.
    passing = {id(item.context_expr) for node in ast.walk(tree) for item in getattr(node, "items", [])}
    found: list[LostSetting] = []
    for node in ast.walk(tree):
        if id(node) in passing or (isinstance(node, ast.Call) and _takes_a_value(node)):
            continue
        for code, _ in settings_in(node, packages.__contains__):
            package = packages.get(_root_in(node), "")
            travels = package in _TRAVEL if isinstance(node, ast.Call) else _TRAVELLING_PART.search(code)
            if package and package not in _NO_SETTINGS and not travels:
                found.append(LostSetting(code, package, getattr(node, "lineno", 0)))
    return found


def _takes_a_value(call: ast.Call) -> bool:
    """Return whether a call is about a value that it is given: `nx.set_node_attributes(graph, ...)`."""
    return bool(call.args) and not isinstance(call.args[0], ast.Constant)


def _root_in(node: ast.AST) -> str:
    targets = node.targets if isinstance(node, (ast.Assign, ast.Delete)) else [getattr(node, "target", node)]
    return root_of(targets[0])


def _packages_in(namespace: Mapping[str, Any]) -> dict[str, str]:
    """Return the packages of the modules among names, and of their classes and functions."""
    found: dict[str, str] = {}
    for name, value in list(namespace.items()):
        if isinstance(value, types.ModuleType):
            found[name] = value.__name__.partition(".")[0]
        elif isinstance(value, type | types.FunctionType | types.BuiltinFunctionType) and value.__module__:
            found[name] = str(value.__module__).partition(".")[0]
    return {name: package for name, package in found.items() if package not in ("__main__", "__mp_main__", "covalab")}
