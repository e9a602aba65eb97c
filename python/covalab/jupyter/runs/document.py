"""Document of a notebook run: read, checked, and brought to the current format. Nothing of it is run here."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
import warnings
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any, Final

import fastjsonschema
import msgspec

from covalab.core.errors import CovalabError

_ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_NEWEST: Final = 4  # format of nbformat's
_PYTHON: Final = frozenset({"python", "python3", "ipython", "ipython3"})


class NotebookRefused(CovalabError, ValueError):
    """A notebook that cannot be run."""


class CodeCell(msgspec.Struct, frozen=True):
    """Code cell of a document: its position among all cells, id, text and metadata."""

    position: int
    id: str
    text: str
    metadata: dict[str, Any]

    @property
    def tags(self) -> frozenset[str]:
        """The tags of the cell."""
        tags = self.metadata.get("tags")
        return frozenset(tag for tag in tags if isinstance(tag, str)) if isinstance(tags, list) else frozenset()


class Document(msgspec.Struct, frozen=True):
    """Notebook in format 4.5: nbformat's JSON, and where it is from."""

    path: Path
    json: dict[str, Any]

    @property
    def code_cells(self) -> list[CodeCell]:
        """The code cells, in order."""
        return [
            CodeCell(position, cell["id"], cell["source"], cell.get("metadata") or {})
            for position, cell in enumerate(self.json["cells"])
            if cell["cell_type"] == "code"
        ]

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata of the whole notebook."""
        found = self.json.get("metadata")
        return found if isinstance(found, dict) else {}


def read_document(path: Path) -> Document:
    """Read a notebook.

    Raises
    ------
    NotebookRefused
        If it is not there, cannot be read, is no notebook, or is one of another language.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        message = f"there is no notebook {path}"
        raise NotebookRefused(message) from None
    except IsADirectoryError:
        message = f"{path} is a folder; name a notebook in it"
        raise NotebookRefused(message) from None
    except OSError as error:
        message = f"the notebook {path} cannot be read: {error.strerror or error}"
        raise NotebookRefused(message) from error
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        said = "it is empty" if not data.strip() else f"it is not JSON ({error})"
        message = f"{path} is no notebook: {said}; save it again in Jupyter, or restore it from a checkpoint"
        raise NotebookRefused(message) from None
    return document_from(found, path)


def document_from(found: Any, path: Path) -> Document:
    """Return the document that JSON describes, in the current format and with an id for each cell.

    Raises
    ------
    NotebookRefused
        If it is no notebook, or one of another language.
    """
    if not isinstance(found, dict) or not isinstance(found.get("nbformat", 3 if "worksheets" in found else None), int):
        message = f"{path} is JSON, but no notebook: it has no `nbformat`"
        raise NotebookRefused(message)
    _check_shape(found, path)
    document = Document(path, _current(found) or _converted(found, path))
    _check_language(document)
    _repair_text(document)
    return document


def _check_shape(found: dict[str, Any], path: Path) -> None:
    if found.get("nbformat", 3) > _NEWEST:
        message = (
            f"the notebook {path} cannot be read as format {found['nbformat']}: this version reads those up to "
            f"{_NEWEST}; save it in one of them, or install a newer covalab"
        )
        raise NotebookRefused(message)
    cells = found.get("cells", [])
    if not isinstance(cells, list) or not all(isinstance(cell, dict) for cell in cells):
        message = f"the notebook {path} is damaged: `cells` is no list of cells; restore it from a checkpoint"
        raise NotebookRefused(message)


def _repair_text(document: Document) -> None:
    """Replace halves of characters, which editors leave and no file can hold, in prose; in code they are refused."""
    for position, cell in enumerate(document.json["cells"], 1):
        try:
            cell["source"].encode()
        except UnicodeEncodeError as error:
            if cell["cell_type"] == "code":
                half = cell["source"][error.start].encode("ascii", "backslashreplace").decode()
                message = (
                    f"cell {position} of the notebook {document.path} has half of a character, {half}, "
                    "which no program can have; write the character again"
                )
                raise NotebookRefused(message) from None
            cell["source"] = cell["source"].encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _current(found: dict[str, Any]) -> dict[str, Any] | None:
    """Return a document of format 4 as one of format 4.5, None if it does not fit nbformat's schema.

    `nbformat` itself takes two seconds to import, because of formats of texts that it does not use; almost every
    notebook needs its schema only.
    """
    if found.get("nbformat") != 4:
        return None
    try:
        made: dict[str, Any] = _normal(json.loads(json.dumps(found)))
        _schema()(made)
    except Exception:  # noqa: BLE001 - nbformat repairs it, or says what is wrong with it
        return None
    return made


@cache
def _schema() -> Callable[[dict[str, Any]], object]:
    """Return the check of format 4.5, compiled from nbformat's own schema."""
    package = importlib.util.find_spec("nbformat")
    assert package is not None
    assert package.origin is not None
    schema = json.loads((Path(package.origin).parent / "v4" / "nbformat.v4.5.schema.json").read_bytes())
    check: Callable[[dict[str, Any]], object] = fastjsonschema.compile(schema)
    return check


def _converted(found: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return a document that has another format, or is damaged, in format 4.5."""
    import nbformat  # noqa: PLC0415 - takes long to import, and only this needs it
    from nbformat.validator import NotebookValidationError  # noqa: PLC0415

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about ids that are missing, which are added below
            made = _normal(nbformat.convert(nbformat.from_dict(found), 4))
            if not nbformat.validator.isvalid(made):
                _forget_outputs(made)  # nobody needs those of before
                _forget_metadata(made, nbformat.validator.iter_validate(made, relax_add_props=True))
                nbformat.validate(made, relax_add_props=True)
    except NotebookValidationError as error:
        where = "/".join(map(str, error.absolute_path)) or "its top level"
        message = f"the notebook {path} is damaged: {error.message} at {where}; restore it from a checkpoint"
        raise NotebookRefused(message) from None
    except Exception as error:
        message = f"the notebook {path} cannot be read as format {found.get('nbformat')}: {error}"
        raise NotebookRefused(message) from error
    converted: dict[str, Any] = json.loads(json.dumps(made))
    return converted


def _normal(made: Any) -> Any:
    """Return a document in format 4.5: ids are there, legal and unique; text is text; what did not run has no count."""
    made["nbformat"], made["nbformat_minor"] = 4, 5
    made["metadata"] = made.get("metadata") or {}
    known: set[str] = set()
    for position, cell in enumerate(made["cells"]):
        source = cell.get("source", "")
        cell["source"] = "".join(source) if isinstance(source, list) else source or ""
        cell["metadata"] = cell.get("metadata") or {}
        given = cell.get("id")
        if not isinstance(given, str) or not _ID.fullmatch(given) or given in known:
            # The same each time that the file is read, so that two runs of it name the same cells.
            text = f"{position} {cell['source']}"
            given = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
        cell["id"] = given
        known.add(given)
        if cell.get("cell_type") == "code":
            cell.setdefault("execution_count", None)
            cell.setdefault("outputs", [])
            for output in cell["outputs"]:
                _repair(output)
    return made


def _forget_outputs(made: Any) -> None:
    for cell in made.cells:
        if cell.get("cell_type") == "code":
            cell["outputs"], cell["execution_count"] = [], None


def _forget_metadata(made: Any, errors: Iterable[Any]) -> None:
    """Remove the metadata of cells that no reader understands; texts among the tags stay."""
    for path in [list(error.absolute_path) for error in errors]:
        if len(path) > 3 and path[0] == "cells" and path[2] == "metadata":
            metadata = made.cells[path[1]]["metadata"]
            tags = metadata.pop(path[3], None)
            if path[3] == "tags" and isinstance(tags, list):
                metadata["tags"] = sorted({tag for tag in tags if isinstance(tag, str)})


def _repair(output: Any) -> None:
    """Add what tools leave out of outputs, and Jupyter does not miss."""
    if isinstance(output, dict) and output.get("output_type") in ("display_data", "execute_result"):
        output.setdefault("metadata", {})
        if output["output_type"] == "execute_result":
            output.setdefault("execution_count", None)


def _check_language(document: Document) -> None:
    spec = document.metadata.get("kernelspec")
    info = document.metadata.get("language_info")
    spec, info = (one if isinstance(one, dict) else {} for one in (spec, info))
    language = spec.get("language") or info.get("name") or ""
    if language and str(language).lower() not in _PYTHON:
        kernel = f" (kernel {spec['name']!r})" if spec.get("name") else ""
        message = f"the notebook {document.path} is in {language}{kernel}; covalab runs Python notebooks"
        raise NotebookRefused(message)
