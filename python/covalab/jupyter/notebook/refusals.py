"""Refusals and warnings about electron cells before anything runs: names that are not known, effects that are lost."""

from __future__ import annotations

import ast
import logging
import re
import types
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Final

from covalab.core.cell_source import filename_for, remember
from covalab.jupyter.cells.cell import HISTORY, Cell, KindOf, Names
from covalab.jupyter.cells.compiling import listed
from covalab.jupyter.cells.ipython_lines import CellRefused
from covalab.jupyter.cells.known_names import meant
from covalab.jupyter.notebook.linking import WiredElectron
from covalab.jupyter.notebook.lost_settings import lost_settings
from covalab.worker.session.reach import reached


class InPlaceWarning(UserWarning):
    """A cell may change an input in place, and the change would stay on the worker."""


class UnknownNameWarning(UserWarning):
    """A cell reads a name that neither the notebook nor an electron cell has."""


class LostSettingWarning(UserWarning):
    """A cell sets something in a library in its own process, where the cells after it do not run."""


_ADD_HANDLERS: Final = frozenset({"addHandler", "basicConfig", "dictConfig", "fileConfig"})
_CHANGE_SHELL: Final = frozenset(
    {
        "register_line_magic",
        "register_cell_magic",
        "register_line_cell_magic",
        "register_magics",
        "register_magic_function",
        "init_printing",  # of sympy
        "init_session",
        "for_type",
        "for_type_by_name",
        "set_custom_exc",
        "ast_node_interactivity",
        "ast_transformers",
        "input_transformers_cleanup",
        "input_transformers_post",
        "pre_run_cell",
        "post_run_cell",
        "pre_execute",
        "post_execute",
    }
)
"""Names, attributes and events by which a cell changes IPython itself."""
_REGISTERS: Final = re.compile(r"register_\w+_(accessor|namespace)")  # of pandas, xarray, polars


def refuse_alone(cell: Cell, namespace: Mapping[str, Any]) -> None:
    """Refuse what would be lost without a word where only one cell runs."""
    for name in sorted(reached(cell.scope.reads, namespace)):
        logger = namespace[name]
        if isinstance(logger, logging.Logger) and logger.handlers:
            message = (
                f"the handlers of logger {logger.name!r} ({name}) stay in the kernel, and what the cell logs would not "
                "reach them: leave it a plain cell"
            )
            raise CellRefused(message, cell.scope.reads.get(name, 0))
    for name, line in cell.scope.reads.items():
        if HISTORY.fullmatch(name):
            message = (
                f"{name} is what the kernel itself has shown, which the cells before this one may not have; "
                "give the value a name in the cell that makes it"
            )
            raise CellRefused(message, line)
        if name == "__annotations__":
            message = "__annotations__ has what was annotated in the cell's own process: leave it a plain cell"
            raise CellRefused(message, line)
    for node in ast.walk(cell.tree):
        _refuse_change_of_shell(node)
        if isinstance(node, ast.Attribute) and node.attr in _ADD_HANDLERS:
            message = (
                f"{node.attr} adds handlers of loggers to the cell's own process, where the cells after it do not run: "
                "leave it a plain cell"
            )
            raise CellRefused(message, node.lineno)
        for target in node.targets if isinstance(node, ast.Assign) else []:
            module = target.value if isinstance(target, ast.Attribute) else None
            if isinstance(module, ast.Name) and isinstance(namespace.get(module.id), types.ModuleType):
                message = (
                    f"{ast.unparse(target)} is set in the module {module.id!r} of another process, and would not "
                    "come back here; set it in a plain cell"
                )
                raise CellRefused(message, target.lineno)


def warn_of_settings(name: str, cell: Cell, namespace: Mapping[str, Any]) -> None:
    """Warn once of settings that cells after this one, which runs alone, do not have."""
    lost = lost_settings(cell.tree, namespace)
    if not lost:
        return
    codes = listed(list(dict.fromkeys(one.code for one in lost)))
    packages = listed(list(dict.fromkeys(one.package for one in lost)))
    message = (
        f"electron {name!r}: {codes} sets something in {packages} in the cell's own process, where the cells after it "
        "do not run; if they need it, leave it a plain cell"
    )
    _warn(LostSettingWarning, message, name, cell, lost[0].line)


def _refuse_change_of_shell(node: ast.AST) -> None:
    word = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "register":
        event = node.args[0] if node.args else None
        word = str(event.value) if isinstance(event, ast.Constant) else ""
    if word in _CHANGE_SHELL:
        message = (
            f"{word} changes IPython in the cell's own process, where the cells after it do not run: "
            "leave it a plain cell"
        )
        raise CellRefused(message, getattr(node, "lineno", 0))
    if _REGISTERS.fullmatch(word):
        message = (
            f"{word} registers a class with a package in the cell's own process, where the cells after it do not run: "
            "leave it a plain cell"
        )
        raise CellRefused(message, getattr(node, "lineno", 0))


def refuse_input(name: str, cell: Cell, namespace: Mapping[str, Any]) -> None:
    """Refuse `input()`: nobody is there to answer."""
    if "input" in cell.scope.reads and "input" not in namespace:
        message = (
            f"electron {name!r} calls input(), and a task in the background has no keyboard: ask in a plain cell and "
            "use the answer here, or let the workflow wait for a person with ct.pause_for"
        )
        raise CellRefused(message, cell.scope.reads["input"])


def call_out(
    name: str, cell: Cell, names: Names, others: Sequence[WiredElectron], namespace: Mapping[str, Any], kind: KindOf
) -> None:
    """Warn of names that are not known: most likely misspelt, or not imported."""
    unknown = [
        one
        for one in names.unknown
        if one not in cell.scope.deferred
        and one not in cell.scope.bindings
        and not (one.startswith("__") or HISTORY.fullmatch(one))
        and kind(one) == "none"
    ]
    if not unknown or cell.hides_names or any(other.cell.hides_names for other in others):
        return
    known = {*namespace, *(one for other in others for one in other.available), *cell.scope.bindings}
    hints = [meant(one, known) for one in unknown]
    message = (
        f"electron {name!r} reads {listed(unknown)}, which is not known here. {''.join(hints)}"
        "run the cell that makes it before this electron is dispatched"
    )
    _warn(UnknownNameWarning, message, name, cell, cell.scope.reads[unknown[0]])


def warn_of_changes(name: str, cell: Cell, names: Names, outputs: Sequence[str]) -> None:
    """Warn once of calls that may change inputs in place, with the remedy."""
    lost = [one for one in names.possible if one.name not in outputs]
    if not lost:
        return
    changed = list(dict.fromkeys(one.name for one in lost))
    calls = ", ".join(dict.fromkeys(f"`{one.call}`" for one in lost))
    message = (
        f"electron {name!r}: {calls} may change {listed(changed)} in place. That change stays on the worker, because "
        f"the electron has a copy; to hand it on, name what it returns: %%electron {name} -> "
        f"{', '.join(dict.fromkeys([*outputs, *changed]))}"
    )
    _warn(InPlaceWarning, message, name, cell, lost[0].line)


def _warn(kind: type[UserWarning], message: str, name: str, cell: Cell, line: int) -> None:
    """Warn about a line of an electron's cell, which is shown with the warning."""
    filename = filename_for("electron", name, cell.text)
    remember(filename, cell.text)  # for `linecache`
    warnings.warn_explicit(message, kind, filename, line)
