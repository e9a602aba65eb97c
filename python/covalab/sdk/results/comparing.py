"""Comparison of two recorded dispatches, as text and as HTML."""

from __future__ import annotations

from html import escape
from typing import Final

import msgspec

from covalab.core import comparison
from covalab.core.comparison import PAIRS_SHOWN, Difference, NodePair, Side
from covalab.core.covalent_status import shown
from covalab.core.dispatch_provenance import DispatchProvenance
from covalab.core.duration_text import duration_text
from covalab.sdk.results.fetch import fetch_result
from covalab.sdk.results.result import Result

_ADDED: Final = "background: rgba(46, 160, 67, 0.18)"
_REMOVED: Final = "background: rgba(248, 81, 73, 0.18)"
_CELL: Final = "text-align: left; vertical-align: top; padding: 2px 10px 2px 0"


class Comparison:
    """Comparison of two dispatches; `covalab.compare` makes one. In a notebook it shows itself.

    Attributes
    ----------
    difference
        What differs.
    """

    def __init__(self, difference: Difference) -> None:
        self.difference = difference

    @property
    def is_empty(self) -> bool:
        """Whether inputs, code, versions and outputs are the same."""
        return self.difference.is_empty

    def __repr__(self) -> str:
        return "\n".join(_lines(self.difference))

    def _repr_html_(self) -> str:
        found = self.difference
        parts = [
            _table(("", found.left.name, found.right.name), _heads(found)),
            _section("Inputs", _table(("", "", ""), _changes(found.arguments))),
            _section("Code", "".join(_code(text) for text in found.code.values())),
            _section("Versions", _table(("", "", ""), _changes(found.versions))),
            _section("Outputs", _table(("", "", ""), [_node_row(pair) for pair in found.nodes[:PAIRS_SHOWN]])),
        ]
        more = len(found.nodes) - PAIRS_SHOWN
        note = f"<p>and {more:,} more nodes</p>" if more > 0 else ""
        return f"<div>{''.join(parts)}{note}</div>"


def compare(left: str | Result, right: str | Result) -> Comparison:
    """Compare two dispatches: inputs, code, versions, durations, and outputs by digest. Not in Covalent.

    Parameters
    ----------
    left, right
        Ids, or results.

    Returns
    -------
    Comparison
        Shows itself in a notebook; ``.difference`` has the parts, ``.is_empty`` whether anything differs.

    Raises
    ------
    MissingLatticeRecordError
        If there is no such dispatch.
    """
    return Comparison(comparison.compare(_side(left), _side(right)))


def _side(which: str | Result) -> Side:
    result = which if isinstance(which, Result) else fetch_result(which)
    record = result.full_record()
    outputs = {node: comparison.output_of(value) for node, value in record.outputs.items()}
    known = msgspec.convert(result.provenance(), DispatchProvenance)
    return comparison.side_of(record.summary, record.graph, record.nodes, known, outputs)


def _took(seconds: float | None) -> str:
    return "" if seconds is None else duration_text(seconds)


def _heads(found: Difference) -> list[tuple[str, str, str]]:
    left, right = found.left, found.right
    return [
        ("dispatch", left.id, right.id),
        ("status", str(shown(left.status)), str(shown(right.status))),  # type: ignore[arg-type]
        ("took", _took(left.seconds), _took(right.seconds)),
    ]


def _changes(changed: dict[str, tuple[str | None, str | None]]) -> list[tuple[str, str, str]]:
    return [(name, *("-" if it is None else it for it in both)) for name, both in changed.items()]  # type: ignore[misc]


def _node_row(pair: NodePair) -> tuple[str, str, str]:
    left, right = pair.left, pair.right
    words = {True: "same", False: "differs", None: ""}[pair.same]
    texts = [
        "-" if node is None else " · ".join(filter(None, (node.text[:80] or node.status, _took(node.seconds))))
        for node in (left, right)
    ]
    return f"{pair.name} {words}".strip(), texts[0], texts[1]


def _lines(found: Difference) -> list[str]:
    lines = [f"{name}: {left}  |  {right}" for name, left, right in _heads(found)]
    if found.is_empty:
        return [*lines, "inputs, code, versions and outputs are the same"]
    for title, rows in (
        ("inputs", _changes(found.arguments)),
        ("versions", _changes(found.versions)),
        ("outputs", [_node_row(pair) for pair in found.nodes[:PAIRS_SHOWN]]),
    ):
        if rows:
            lines += ["", f"{title}:", *(f"  {name}: {left}  |  {right}" for name, left, right in rows)]
    for text in found.code.values():
        lines += ["", text]
    return lines


def _section(title: str, content: str) -> str:
    return f"<h4>{title}</h4>{content}" if content else ""


def _table(heads: tuple[str, str, str], rows: list[tuple[str, str, str]]) -> str:
    if not rows:
        return ""
    head = "".join(f'<th style="{_CELL}">{escape(text)}</th>' for text in heads) if any(heads) else ""
    body = "".join(
        "<tr>" + "".join(f'<td style="{_CELL}">{escape(text)}</td>' for text in row) + "</tr>" for row in rows
    )
    return f"<table>{f'<tr>{head}</tr>' if head else ''}{body}</table>"


def _code(text: str) -> str:
    lines = []
    for line in text.splitlines():
        colour = _ADDED if line.startswith("+") else _REMOVED if line.startswith("-") else ""
        lines.append(f'<span style="{colour}">{escape(line)}</span>' if colour else escape(line))
    return f"<pre>{chr(10).join(lines)}</pre>"
