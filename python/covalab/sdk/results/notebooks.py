"""Executed notebooks: the document of a dispatch, with what its cells have shown, as a dict or as a file."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from covalab import umask
from covalab.blobs import BlobStore
from covalab.client import Client, connect
from covalab.core.errors import CovalabError, GraphError
from covalab.core.executed_notebook import executed
from covalab.core.model import Digest, DispatchRecord, Submission, Value
from covalab.core.notebook_run import NotebookRun
from covalab.core.outputs import Output, recorded
from covalab.sdk.ids import checked_id

_FORMATS: Final = {
    ".ipynb": "notebook",
    ".html": "html",
    ".htm": "html",
    ".md": "markdown",
    ".py": "script",
    ".tex": "latex",
    ".pdf": "pdf",
    ".rst": "rst",
    ".adoc": "asciidoc",
    ".ascii": "asciidoc",
}
"""Exporters of nbconvert by the ending of a file's name."""


def run_of(submission: Submission) -> NotebookRun:
    """Return the notebook run that a submission is.

    Raises
    ------
    GraphError
        If it is none.
    """
    if submission.notebook is None:
        message = (
            f"dispatch {submission.id} ({submission.graph.name}) is no notebook run, so it has no executed notebook; "
            "`covalab run NOTEBOOK.ipynb` or ct.run_notebook makes one"
        )
        raise GraphError(message)
    return submission.notebook


def document_of(submission: Submission, blobs: BlobStore) -> dict[str, Any]:
    """Return the document of a notebook run, without the outputs of the cells that run."""
    run = run_of(submission)
    # In `core.notebook_run` a digest is a text.
    found: dict[str, Any] = msgspec.json.decode(blobs.code(Digest(run.document), submission.code, "the notebook"))
    return found


def executed_notebook(dispatch_id: str, client: Client | None = None) -> dict[str, Any]:
    """Return the executed notebook of a dispatch, as far as it has run, as nbformat's JSON.

    Raises
    ------
    GraphError
        If the dispatch is no notebook run.
    MissingLatticeRecordError
        If there is no such dispatch.
    """
    client = connect() if client is None else client
    wanted = checked_id(dispatch_id)
    submission = client.submission(wanted)
    run = run_of(submission)
    # In this order: a cell that ends meanwhile is there with its outputs, or still runs.
    record = client.record(wanted, outputs="none")
    outputs = _outputs(record, run, client)
    not_run = {
        node: failure.message for node, failure in record.failures.items() if record.nodes[node].status == "skipped"
    }
    return executed(document_of(submission, client.blobs), run, record.summary, record.nodes, outputs, not_run)


def _outputs(record: DispatchRecord, run: NotebookRun, client: Client) -> dict[int, list[Output]]:
    def load(value: Value) -> bytes:
        return client.blobs.load(value)

    found = {node: recorded(one, load) for node, one in client.all_outputs(record.summary.id).items()}
    for cell in run.cells:
        if cell.node >= 0 and record.nodes[cell.node].status == "running":
            found[cell.node] = client.outputs(record.summary.id, cell.node).outputs
    return found


def export_notebook(dispatch_id: str, path: str | os.PathLike[str], to: str | None = None) -> Path:
    """Write the executed notebook of a dispatch to a file, as far as it has run.

    Parameters
    ----------
    dispatch_id : str
        The id of a notebook run.
    path : str or Path
        The file. Its ending chooses the format: ``.ipynb``, ``.html``, ``.md``, ``.py``, ``.tex``, ``.pdf``, ``.rst``.
    to : str, optional
        Another format: the name of an exporter of nbconvert, such as ``"slides"``.

    Returns
    -------
    Path
        The file that was written. Pictures in Markdown, LaTeX and rst are files in a folder beside it.

    Raises
    ------
    GraphError
        If the dispatch is no notebook run, or the format is not known.
    MissingLatticeRecordError
        If there is no such dispatch.
    """
    target = Path(path)
    format_ = format_of(target, to)
    document = executed_notebook(dispatch_id)
    if format_ == "notebook":
        write_atomically(target, notebook_text(document).encode())
        return target
    body, resources = _converted(document, format_, target)
    write_atomically(target, body)
    for name, data in resources.items():
        file = target.parent / name
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, data)
    return target


def format_of(path: Path, to: str | None) -> str:
    """Return the exporter for a file; `to` is the one that was asked for.

    Raises
    ------
    GraphError
        If the name of the file does not say it.
    """
    format_ = to or _FORMATS.get(path.suffix.lower())
    if format_ is None:
        message = f"{path.name}: which format is meant? End its name with one of {', '.join(_FORMATS)}"
        raise GraphError(message)
    return format_


def notebook_text(document: Mapping[str, Any]) -> str:
    """Return a document as the text of an .ipynb file."""
    return json.dumps(document, indent=1, ensure_ascii=False, sort_keys=False) + "\n"


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file; whoever reads it meanwhile sees the one before, or all of this one."""
    path = path.resolve()  # a link stays a link
    try:
        number, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:  # which names the file that stands in for this one
        raise OSError(error.errno, error.strerror, str(path)) from None
    try:
        with os.fdopen(number, "wb") as file:
            file.write(data)
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~umask.current()
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _converted(document: Mapping[str, Any], format_: str, target: Path) -> tuple[bytes, dict[str, bytes]]:
    """Return a document in another format, with the files that belong beside it."""
    import nbformat  # noqa: PLC0415 - takes long to import, and only an export needs it
    from nbconvert.exporters import ExporterNameError, get_exporter  # noqa: PLC0415

    try:
        exporter = get_exporter(format_)()
    except (ExporterNameError, ValueError) as error:
        message = f"nbconvert has no exporter {format_!r}; `jupyter nbconvert --help` lists those there are"
        raise GraphError(message) from error
    resources = {
        "metadata": {"name": target.stem},
        "unique_key": target.stem,
        "output_files_dir": f"{target.stem}_files",
    }
    try:
        body, made = exporter.from_notebook_node(nbformat.from_dict(document), resources)
    except (OSError, RuntimeError) as error:  # LaTeX or pandoc is missing, or has failed
        message = f"nbconvert could not make {target.name}: {error}"
        raise ExportFailed(message) from error
    return body if isinstance(body, bytes) else body.encode(), made.get("outputs") or {}


class ExportFailed(CovalabError, RuntimeError):
    """nbconvert could not write a format."""
