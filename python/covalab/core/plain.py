"""Closing what needs no pickle to be understood: JSON values, which the dispatcher may get from a browser."""

from __future__ import annotations

from typing import Any

from covalab.core.codec import closed
from covalab.core.model import Value


def closed_plain(value: Any) -> Value:
    """Close a JSON value.

    Examples
    --------
    >>> closed_plain({"approved": True}).text
    "{'approved': True}"
    """
    return closed(value, what="a JSON value")
