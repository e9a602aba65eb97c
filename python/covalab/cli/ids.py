"""Ids on the command line: of one, its beginning is enough."""

from __future__ import annotations


def dispatch_id(text: str) -> str:
    """Return the id of a dispatch of which a person typed the beginning."""
    from covalab.sdk.ids import whole_id

    return whole_id(text)
