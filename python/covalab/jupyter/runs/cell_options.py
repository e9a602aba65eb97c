"""Options of a notebook's cells: by tag, in the metadata of a cell, and for the whole notebook. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final

import msgspec

from covalab.core.executed_notebook import KEY
from covalab.jupyter.runs.document import CodeCell, NotebookRefused

_SKIP: Final = frozenset({"skip", "skip-execution"})  # the second is nbclient's
_MAY_RAISE: Final = "raises-exception"  # nbclient's
_PARALLEL: Final = "parallel"


class CellOptions(msgspec.Struct, frozen=True, omit_defaults=True):
    """Options of one cell.

    Attributes
    ----------
    skip
        Whether it is left out.
    retries
        The number of times that a failed run is repeated.
    time_limit
        The limit for one run, in seconds.
    executor
        The executor of the cell, which then runs beside the session.
    may_raise
        Whether the cells after it run although it raised an exception.
    parallel
        Whether, in a run with `parallel`, it begins beside cells before it as soon as it can, also if these are quick.
    """

    skip: bool = False
    retries: Annotated[int, msgspec.Meta(ge=0, le=1_000)] = 0
    time_limit: Annotated[float, msgspec.Meta(gt=0)] | None = None
    executor: str = ""
    may_raise: bool = False
    parallel: bool = False


_NAMES: Final = frozenset(CellOptions.__struct_fields__)


def options_of(cell: CodeCell, notebook: Mapping[str, Any], where: str) -> CellOptions:
    """Return the options of a cell: its metadata go before its tags, these before the notebook's metadata.

    Parameters
    ----------
    cell
        The cell.
    notebook
        The metadata of the notebook.
    where
        The name of the cell in errors.

    Raises
    ------
    NotebookRefused
        If an option has a value that it cannot have, or its name is misspelt: else it would mean nothing, silently.

    Examples
    --------
    >>> options_of(CodeCell(0, "a", "x", {"tags": ["retries=2"]}), {"covalab": {"time_limit": 60}}, "cell 1")
    CellOptions(skip=False, retries=2, time_limit=60.0, executor='', may_raise=False, parallel=False)
    """
    _refuse_misspelt(notebook.get(KEY), "the metadata of the notebook")
    _refuse_misspelt(cell.metadata.get(KEY), where)
    _refuse_misspelt([tag.partition("=")[0] for tag in sorted(cell.tags) if "=" in tag], where)
    found: dict[str, Any] = {**_known(notebook.get(KEY))}
    for tag in sorted(cell.tags):
        name, equals, text = tag.partition("=")
        name = name.strip().replace("-", "_")
        if equals and name in _NAMES:
            found[name] = text.strip()
    if cell.tags & _SKIP:
        found["skip"] = True
    if _MAY_RAISE in cell.tags:
        found["may_raise"] = True
    if _PARALLEL in cell.tags:
        found["parallel"] = True
    found.update(_known(cell.metadata.get(KEY)))
    try:
        return msgspec.convert(found, CellOptions, strict=False)
    except msgspec.ValidationError as error:
        message = f"{where} has an option that cannot be: {error}; its options are {', '.join(sorted(_NAMES))}"
        raise NotebookRefused(message) from None


def _meant(name: str) -> str:
    """Return the option that a name is almost, as `retry` is `retries`; "" for an option, and for others' names."""
    plain = name.strip().replace("-", "_")
    near = [
        option for option in _NAMES - {"executor"} if option[0] == plain[:1].lower()
    ]  # `execute` is a word of others
    found = difflib.get_close_matches(plain.lower(), near, 1, 0.65)
    return "" if plain in _NAMES or not found else found[0]


def _refuse_misspelt(names: object, where: str) -> None:
    texts = names if isinstance(names, Iterable) and not isinstance(names, str) else ()
    for name in texts:
        if isinstance(name, str) and (meant := _meant(name)):
            message = f"{where} has an option {name!r}, which there is not: {meant!r} is meant, or it has another name"
            raise NotebookRefused(message)


def _known(metadata: object) -> dict[str, Any]:
    # An executed notebook has more under this key, and can be run again.
    return {name: metadata[name] for name in _NAMES if name in metadata} if isinstance(metadata, dict) else {}
