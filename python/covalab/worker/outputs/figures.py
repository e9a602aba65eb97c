"""Figures of matplotlib that a node leaves open: shown at its end, as a notebook shows those of a cell."""

from __future__ import annotations

import sys
from typing import Any


def flush_figures() -> None:
    """Show the figures that were made since the last time."""
    backend: Any = sys.modules.get("matplotlib_inline.backend_inline")
    if backend is not None:
        backend.flush_figures()
