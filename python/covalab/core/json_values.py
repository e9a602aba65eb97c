"""JSON values, and previews that are assembled without deserializing a value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from covalab.core.assemble import ByNode, value_at
from covalab.core.codec import preview, serialize_small
from covalab.core.model import Edge, Node, Value


def serialize_json(value: Any) -> Value:
    """Serialize a JSON value.

    Examples
    --------
    >>> serialize_json({"approved": True}).text
    "{'approved': True}"
    """
    return serialize_small(value, what="a JSON value")


class _TextOnly:
    """Placeholder of a value of which only the text is known."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def preview_json(node: int, nodes: ByNode[Node], into: ByNode[Sequence[Edge]], text_at: Callable[[int], str]) -> str:
    """Return the value of a node as text for people, from the texts of the values it is made of.

    Parameters
    ----------
    node, nodes, into
        As for `assemble.value_at`.
    text_at
        Returns the text of a node that has a value of its own.
    """
    return preview(value_at(node, nodes, into, lambda source: _TextOnly(text_at(source))))
