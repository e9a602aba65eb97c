"""Return values of the magics: definitions, lists of dispatches and interrupts, outputs that arrive later."""

from __future__ import annotations

import datetime as dt
import html
import time
from collections.abc import Iterable, Sequence
from typing import Any

from covalab.core.model import DispatchSummary
from covalab.sdk.timestamps import Timestamp


class Definition:
    """One line with the signature of a cell that became an electron."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text

    def _repr_html_(self) -> str:
        return f"<code>{html.escape(self.text)}</code>"


class Dispatches:
    """A list of dispatches, newest first. Index it for a `DispatchSummary`."""

    def __init__(self, summaries: Sequence[DispatchSummary]) -> None:
        self.summaries = list(summaries)

    def __len__(self) -> int:
        return len(self.summaries)

    def __getitem__(self, index: int) -> DispatchSummary:
        return self.summaries[index]

    def __repr__(self) -> str:
        return as_text(_DISPATCH_HEAD, map(_dispatch_row, self.summaries)) if self.summaries else "no dispatches"

    def _repr_html_(self) -> str:
        return (
            as_html(_DISPATCH_HEAD, map(_dispatch_row, self.summaries)) if self.summaries else "<p>No dispatches.</p>"
        )


class Interrupts:
    """A list of interrupts. Index it for a record as `covalab.get_interrupts` returns it."""

    def __init__(self, interrupts: Sequence[dict[str, Any]]) -> None:
        self.interrupts = list(interrupts)

    def __len__(self) -> int:
        return len(self.interrupts)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.interrupts[index]

    def __repr__(self) -> str:
        return (
            as_text(_INTERRUPT_HEAD, map(_interrupt_row, self.interrupts))
            if self.interrupts
            else "nothing waits for an answer"
        )

    def _repr_html_(self) -> str:
        return as_html(_INTERRUPT_HEAD, map(_interrupt_row, self.interrupts)) if self.interrupts else f"<p>{self!r}</p>"


def as_text(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a text table with aligned columns."""
    cells = [head, *rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )


def as_html(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return an HTML table; the text of its cells is escaped."""
    titles = "".join(f'<th style="text-align:left">{title}</th>' for title in head)
    body = "".join(
        "<tr>" + "".join(f'<td style="text-align:left">{html.escape(cell)}</td>' for cell in row) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>"


_INTERRUPT_HEAD = ("asks for", "about", "status", "since", "id")


def _interrupt_row(one: dict[str, Any]) -> tuple[str, ...]:
    created = Timestamp(one["created_at"]).datetime.astimezone()
    return one["type"], " ".join(one["text"].split()), one["status"], f"{created:%Y-%m-%d %H:%M:%S}", one["id"]


_DISPATCH_HEAD = ("lattice", "status", "done", "started", "took", "id")


def _dispatch_row(one: DispatchSummary) -> tuple[str, ...]:
    counts = one.counts
    total = counts.pending + counts.running + counts.completed + counts.failed + counts.cancelled + counts.skipped
    created = dt.datetime.fromtimestamp(one.created_at, tz=dt.timezone.utc).astimezone()
    return (
        one.name,
        one.status,
        f"{counts.completed}/{total}",
        f"{created:%Y-%m-%d %H:%M:%S}",
        _duration(one),
        one.id,
    )


def _duration(one: DispatchSummary) -> str:
    if one.started_at is None:
        return ""
    seconds = (one.ended_at or time.time()) - one.started_at
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"
