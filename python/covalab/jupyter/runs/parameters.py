"""Parameters of a notebook run, by papermill's conventions: a tagged cell has defaults, a cell after it the values."""

from __future__ import annotations

import ast
import copy
import keyword
import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from covalab.core.notebook_run import source_digest
from covalab.jupyter.runs.document import Document, NotebookRefused

TAG: Final = "parameters"
INJECTED: Final = "injected-parameters"


def value_of_text(text: str) -> Any:
    """Return the value that a text on the command line means, as papermill reads it.

    Examples
    --------
    >>> [value_of_text(text) for text in ("True", "None", "3", "0.1", "1e3", "north", "[1]")]
    [True, None, 3, 0.1, 1000.0, 'north', '[1]']
    """
    words = {"True": True, "False": False, "None": None}
    if text in words:
        return words[text]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def check_parameters(parameters: Mapping[str, Any]) -> None:
    """Refuse names that are none, and values that a cell cannot have as literals.

    Raises
    ------
    NotebookRefused
        With the name.
    """
    for name, value in parameters.items():
        if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
            message = f"the parameter {name!r} is no name in Python"
            raise NotebookRefused(message)
        literal(name, value)


def literal(name: str, value: Any) -> str:
    """Return a value as Python.

    Examples
    --------
    >>> literal("x", {"rate": 0.5, "on": [True, None]}), literal("x", float("inf"))
    ("{'rate': 0.5, 'on': [True, None]}", "float('inf')")
    """
    if value is None or isinstance(value, (bool, str)) or type(value) is int:
        return repr(value)
    if isinstance(value, float):
        return repr(float(value)) if math.isfinite(value) else f"float({str(float(value))!r})"
    if isinstance(value, int):
        return repr(int(value))
    if isinstance(value, dict):
        if all(isinstance(key, str) for key in value):
            return f"{{{', '.join(f'{key!r}: {literal(name, one)}' for key, one in value.items())}}}"
    elif isinstance(value, (list, tuple)):
        return f"[{', '.join(literal(name, one) for one in value)}]"
    message = (
        f"the parameter {name!r} cannot be of type {type(value).__name__}: it is written into a cell, so it must be a "
        "number, a text, True, False, None, or a list or dict of these; write it to a file and pass the path"
    )
    raise NotebookRefused(message)


def inject(document: Document, parameters: Mapping[str, Any]) -> Document:
    """Return a document with a cell that sets parameters, after the cell tagged `parameters`, else at the top.

    A cell that an earlier run injected is replaced.
    """
    if not parameters:
        return document
    check_parameters(parameters)
    made = copy.deepcopy(document.json)
    cells = made["cells"]
    at = _position(cells, INJECTED)
    if at is not None:
        del cells[at]
    else:
        tagged = _position(cells, TAG)
        at = 0 if tagged is None else tagged + 1
    lines = ["# Parameters", *(f"{name} = {literal(name, value)}" for name, value in parameters.items())]
    text = "\n".join(lines)
    cells.insert(
        at,
        {
            "cell_type": "code",
            "id": f"parameters-{source_digest(text)}",
            "metadata": {"tags": [INJECTED]},
            "source": text,
            "execution_count": None,
            "outputs": [],
        },
    )
    return Document(document.path, made)


def unknown_parameters(document: Document, names: Iterable[str]) -> list[str]:
    """Return names that the cell tagged `parameters` does not set; none, if there is no such cell."""
    tagged = [cell for cell in document.code_cells if TAG in cell.tags]
    if not tagged:
        return []
    try:
        tree = ast.parse(tagged[0].text)
    except SyntaxError:
        return []
    known = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    return [name for name in names if name not in known]


def has_parameters_cell(document: Document) -> bool:
    """Return whether a cell is tagged `parameters`."""
    return any(TAG in cell.tags for cell in document.code_cells)


def _position(cells: Iterable[Mapping[str, Any]], tag: str) -> int | None:
    return next((n for n, cell in enumerate(cells) if tag in (cell.get("metadata", {}).get("tags") or ())), None)
