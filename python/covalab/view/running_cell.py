"""The notebook cell that runs now, as far as an output has to know it."""

from __future__ import annotations

import sys
from typing import Any

from covalab.core.notebook_run import source_digest


def _shell() -> Any:
    return sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None


def has_kernel() -> bool:
    """Whether this process is a kernel."""
    return getattr(_shell(), "kernel", None) is not None


def source_of_display() -> dict[str, str]:
    """Return the digest of the text of the cell that runs now, for what it shows; nothing outside of a kernel.

    A page compares it with the cell's text and so knows that the cell was changed since.
    """
    if not has_kernel():
        return {}
    texts: list[str] = getattr(getattr(_shell(), "history_manager", None), "input_hist_raw", [])
    return {"source_digest": source_digest(texts[-1].strip())} if len(texts) > 1 else {}
