"""Outputs of the nodes of a dispatch, each under its name, for the output of a `Result`. Pure.

Bounded in number and size, since the notebook's file keeps them. Many are folded; errors and the last are not.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, Final

import msgspec

from covalab.core.labels import labels
from covalab.core.model import Graph
from covalab.view.outputs import Output, bounded, outputs_html, outputs_text, shortened
from covalab.view.words import pretty_name

MOST_NODES: Final = 50
"""The most nodes whose outputs are shown: those that failed come first."""

MOST_CHARACTERS: Final = 5_000_000
"""Largest number of characters of all outputs together."""

_MOST_TEXT: Final = 20_000
_MOST_OPEN: Final = 4
_NAME: Final = "cursor:pointer;opacity:0.75"


class NodeDisplay(msgspec.Struct, frozen=True):
    """Outputs of one node."""

    node: int
    name: str
    outputs: Sequence[Output]
    is_open: bool = True
    """Whether they are shown before somebody unfolds them."""


class NodeDisplays(msgspec.Struct, frozen=True):
    """Outputs of the nodes of a dispatch that are shown."""

    nodes: Sequence[NodeDisplay] = ()
    n_more: int = 0
    """The number of nodes that have outputs and are left out."""
    remedy: str = ""
    """The way to see what is left out, as an expression."""


def chosen(numbers: Iterable[int], failed: Iterable[int]) -> list[int]:
    """Return the nodes that are shown, of those that have outputs.

    Examples
    --------
    >>> chosen([3, 1, 2], [2]), len(chosen(range(1000), [999])), chosen(range(1000), [999])[-1]
    ([1, 2, 3], 50, 999)
    """
    known = sorted(numbers)
    first = [number for number in known if number in set(failed)]
    return sorted(islice(dict.fromkeys([*first, *known]), MOST_NODES))


def node_displays(
    dispatch: str, graph: Graph, outputs: Mapping[int, Sequence[Output]], n_more: int = 0
) -> NodeDisplays:
    """Return the outputs of nodes as they are shown: cut to a size, and folded if they are many.

    Parameters
    ----------
    dispatch
        The id of the dispatch.
    graph
        Its graph.
    outputs
        The outputs of the nodes that are shown.
    n_more
        The number of nodes with outputs that are not among them.
    """
    remedy = f'ct.get_result("{dispatch}").outputs'
    numbers = sorted(number for number in outputs if outputs[number])
    kept, _ = bounded([output for number in numbers for output in outputs[number]], MOST_CHARACTERS, remedy)
    left = iter(kept)
    told_apart = labels(graph.nodes, graph.edges)
    shown = [
        NodeDisplay(
            number,
            f"{pretty_name(graph.nodes[number])}{told_apart.get(number, '')}",
            its := list(islice(left, len(outputs[number]))),
            len(numbers) <= _MOST_OPEN or number == numbers[-1] or _has_error(its),
        )
        for number in numbers
    ]
    return NodeDisplays(shown, n_more, remedy)


def displays_json(displays: NodeDisplays) -> dict[str, Any]:
    """Return them as the page reads them."""
    return {
        "nodes": [
            {"node": one.node, "name": one.name, "outputs": list(one.outputs), "is_open": one.is_open}
            for one in displays.nodes
        ],
        "more": _more(displays),
    }


def displays_html(displays: NodeDisplays) -> str:
    """Return them as HTML: one without a name, more under their names."""
    if len(displays.nodes) == 1 and not displays.n_more:
        return f"<div>{outputs_html(displays.nodes[0].outputs)}</div>"
    parts = [
        f'<details{" open" if one.is_open else ""}><summary style="{_NAME}">{html.escape(one.name)}'
        f"</summary>{outputs_html(one.outputs)}</details>"
        for one in displays.nodes
    ]
    more = _more(displays)
    return "".join([*parts, f'<div style="{_NAME}">{html.escape(more)}</div>' if more else ""])


def displays_text(displays: NodeDisplays) -> str:
    """Return them as plain text."""
    if len(displays.nodes) == 1 and not displays.n_more:
        parts = [outputs_text(displays.nodes[0].outputs)]
    else:
        parts = [f"[{one.name}]\n{outputs_text(one.outputs)}" for one in displays.nodes]
    return shortened("\n".join(filter(None, [*parts, _more(displays)])), _MOST_TEXT, displays.remedy)


def _more(displays: NodeDisplays) -> str:
    n_more = displays.n_more
    return f"and {n_more:,} more {'node' if n_more == 1 else 'nodes'}: {displays.remedy}" if n_more else ""


def _has_error(outputs: Iterable[Output]) -> bool:
    return any(output.get("output_type") == "error" for output in outputs)
