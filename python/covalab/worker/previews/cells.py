"""Entries of tables and trees as short texts."""

from __future__ import annotations

from typing import Any

from covalab.core.codec import preview, printable
from covalab.core.previews import CELL_SHOWN


def cell_text(value: Any) -> str:
    """Return the text of one entry; a long one is cut."""
    if type(value) is float:
        return f"{value:.6g}"
    text = value if isinstance(value, str) else preview(value)
    return printable(text, CELL_SHOWN) if len(text) <= CELL_SHOWN else f"{printable(text, CELL_SHOWN - 1)}…"


def number_text(value: Any) -> str:
    """Return a number in few digits."""
    try:
        return f"{float(value):.6g}"
    except (TypeError, ValueError, OverflowError):
        return cell_text(value)
