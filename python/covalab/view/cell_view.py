"""Display of a cell that runs in the background: its outputs, and one line about its state. Pure.

The kernel displays the bundle once and updates it under the same display id. Pages with our extension read newer
outputs from the server by themselves; for all others the HTML has every output.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from covalab.core.duration_text import duration_text
from covalab.core.model import Status
from covalab.view.outputs import Output, bounded, error_line, outputs_html, outputs_text, shortened
from covalab.view.words import moment_text

CELL_MIME_TYPE: Final = "application/vnd.covalab.cell+json"

CellState = Literal["waiting", "running", "done", "failed", "cancelled"]

CELL_STATES: Final[Mapping[Status, CellState]] = {
    "pending": "waiting",
    "running": "running",
    "completed": "done",
    "failed": "failed",
    "cancelled": "cancelled",
    "skipped": "cancelled",
}
"""State of a cell by the status of its node."""

KEPT: Final = 10_000_000
"""Largest number of characters of the outputs that a notebook keeps of one cell."""

KEPT_WHILE_RUNNING: Final = 500_000
"""The same while the cell runs: each update sends all of them again."""

_KEPT_TEXT: Final = 100_000
"""Largest number of characters of the plain text, which terminals show."""

_MUTED: Final = "margin-top:4px;font-size:90%;opacity:0.75"


class CellView(msgspec.Struct, frozen=True, kw_only=True):
    """A cell that runs in the background, at one moment."""

    id: str
    """The dispatch."""
    node: int
    name: str
    state: CellState
    outputs: Sequence[Output] = ()
    number: int = 0
    """Number of the outputs' last change; the page compares it with what it has."""
    is_final: bool = False
    """Whether the outputs are complete."""
    started_at: float | None = None
    ended_at: float | None = None
    seen_at: float | None = None
    """The moment of this view; a saved notebook shows it while the cell had not ended."""
    message: str = ""
    """Rest of the state's line, such as "set `x`, `model`"; code in backticks."""
    source_digest: str = ""
    """Digest of the text of the cell; empty where that is not known."""


def cell_bundle(cell: CellView) -> dict[str, Any]:
    """Return the MIME bundle of a cell, for `display(..., raw=True, display_id=...)` and its updates.

    Parameters
    ----------
    cell
        The cell.
    """
    remedy = f'ct.get_result("{cell.id}").outputs[{cell.node}]'
    outputs, n_cut = bounded(cell.outputs, KEPT if cell.is_final else KEPT_WHILE_RUNNING, remedy)
    line = state_line(cell)
    text = shortened(outputs_text(outputs), _KEPT_TEXT, remedy)
    return {
        CELL_MIME_TYPE: {
            "id": cell.id,
            "node": cell.node,
            "name": cell.name,
            "state": cell.state,
            "started_at": cell.started_at,
            "ended_at": cell.ended_at,
            "seen_at": cell.seen_at,
            "message": cell.message,
            "outputs": outputs,
            "n_cut": n_cut,
            "number": cell.number,
            "is_final": cell.is_final,
            **({"source_digest": cell.source_digest} if cell.source_digest else {}),
        },
        "text/html": f'<div>{outputs_html(outputs)}<div style="{_MUTED}">{_with_code(line)}</div></div>',
        "text/plain": "\n".join(part for part in (text, f"[{cell.name}: {line.replace('`', '')}]") if part),
    }


def state_line(cell: CellView) -> str:
    """Return the line about the state: `done in 3.2 s, set `x``, `failed after 2 min: ValueError: ...`."""
    took = None if cell.started_at is None or cell.ended_at is None else duration_text(cell.ended_at - cell.started_at)
    seen = f" (as of {moment_text(cell.seen_at)})" if cell.seen_at is not None else ""
    message = cell.message
    match cell.state:
        case "waiting":
            return f"waiting{_after(' ', message)}{seen}"
        case "running":
            if cell.started_at is not None and cell.seen_at is not None:
                message = ", ".join(filter(None, (duration_text(cell.seen_at - cell.started_at), message)))
            return f"running{_after(' ', message)}{seen}"
        case "done":
            return f"done{_after(' in ', took)}{_after(', ', message)}"
        case "failed":
            message = message or next((error_line(it) for it in reversed(cell.outputs) if _is_error(it)), "")
            return f"failed{_after(' after ', took)}{_after(': ', message)}"
        case "cancelled":
            return f"cancelled{_after(' after ', took)}{_after(', ', message)}"


def names_message(names: Sequence[str]) -> str:
    """Return the message of a cell that has set names in the notebook.

    Examples
    --------
    >>> names_message(["x", "model"]), names_message([])
    ('set `x`, `model`', '')
    """
    shown = [f"`{name}`" for name in names[:_MOST_NAMES]]
    more = len(names) - len(shown)
    return f"set {', '.join(shown)}{f' and {more} more names' if more > 0 else ''}" if names else ""


_MOST_NAMES: Final = 12


def seconds_to_next(bundle_size: int) -> float:
    """Return how long to wait before the next update: each sends everything again.

    Examples
    --------
    >>> seconds_to_next(2_000), seconds_to_next(1_000_000)
    (0.5, 5.0)
    """
    return min(5.0, max(0.5, bundle_size / 200_000))


def _is_error(output: Output) -> bool:
    return output.get("output_type") == "error"


def _after(separator: str, text: str | None) -> str:
    return f"{separator}{text}" if text else ""


def _with_code(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))
