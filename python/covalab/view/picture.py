"""Static picture of a graph: one self-contained SVG file. Pure.

For pages that cannot run our drawing code: saved notebooks on other sites, exported pages, `Lattice.draw`. Names come
from users, so all text is escaped, and text is the only thing that comes from outside.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from covalab.core.model import Graph, NodeKind, NodeState, Status
from covalab.view.layout import Ranks, place, rank
from covalab.view.shape import PLUMBING, Shape, Unit, shape_of
from covalab.view.words import STATUSES, duration_text, pretty_name, short_name, status_word, waiting_word

_COLOURS: Final[Mapping[Status, str]] = {
    "pending": "#9e9e9e",
    "running": "#1976d2",
    "completed": "#388e3c",
    "failed": "#d32f2f",
    "cancelled": "#f57c00",
    "skipped": "#9e9e9e",
}
_PAPER, _CARD, _LINE, _EDGE, _INK, _MUTED = "#f7f7f7", "#ffffff", "#dcdcdc", "#b5b5b5", "#212121", "#757575"
_FONT: Final = "system-ui,-apple-system,'Segoe UI',Helvetica,Arial,'DejaVu Sans',sans-serif"

_HEIGHT: Final = 46.0
_NARROWEST, _WIDEST, _CARD_PAD, _LETTER = 138.0, 212.0, 58.0, 7.6
_SMALL_LETTER: Final = 5.8
_LAYER_GAP, _BOX_GAP, _DOT, _MARGIN = 40.0, 14.0, 8.0, 24.0
_WINDOW: Final = (812.0, 392.0)
"""Width and height of a typical output; they decide whether the graph runs sideways or down."""

_NOT_XML: Final = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML forbids, even escaped."""


class _Box(NamedTuple):
    """A drawn box, by its centre."""

    x: float
    y: float
    width: float
    height: float


class _Scene(NamedTuple):
    boxes: list[_Box]
    paths: list[list[tuple[float, float]]]
    width: float
    height: float
    sideways: bool


def graph_svg(graph: Graph, states: Iterable[NodeState]) -> str:
    """Draw a transport graph.

    Parameters
    ----------
    graph
        The graph.
    states
        The states of its nodes; nodes that are left out have not started.

    Returns
    -------
    str
        A complete SVG document.
    """
    known = {state.node: state for state in states}
    failed = [node for node, state in known.items() if state.status == "failed"]
    shape = shape_of(graph.nodes, graph.edges, keep=failed)
    scene = _arrange(graph, shape)
    width, height = scene.width + 2 * _MARGIN, scene.height + 2 * _MARGIN
    size = f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="{_FONT}" role="img">',
        f"<title>{_escape(short_name(graph.name))}</title>",
        f'<rect width="100%" height="100%" rx="10" fill="{_PAPER}"/>',
        f'<g transform="translate({_MARGIN:.0f} {_MARGIN:.0f})">',
        f'<g fill="none" stroke="{_EDGE}" stroke-width="1.2">',
        *(f'<path d="{_path(points, sideways=scene.sideways)}"/>' for points in scene.paths),
        "</g>",
    ]
    for unit, box in zip(shape.units, scene.boxes, strict=True):
        parts.extend(_draw_unit(graph, unit, box, known))
    parts.append("</g></svg>")
    return "".join(parts)


def _arrange(graph: Graph, shape: Shape) -> _Scene:
    """Lay out the shape sideways or down, whichever is larger in the window."""
    longest = max((len(_label(graph, unit)) for unit in shape.units), default=0)
    card = min(_WIDEST, max(_NARROWEST, _CARD_PAD + _LETTER * longest))
    ranks = rank(len(shape.units), shape.edges)
    across, down = (_arrange_one_way(shape, ranks, card, sideways=sideways) for sideways in (True, False))
    # Cards are wide: reading from left to right is the better picture unless it is much smaller.
    return down if _scale(down) > 1.6 * _scale(across) else across


def _scale(scene: _Scene) -> float:
    return min(1.0, _WINDOW[0] / max(1.0, scene.width), _WINDOW[1] / max(1.0, scene.height))


def _arrange_one_way(shape: Shape, ranks: Ranks, card: float, *, sideways: bool) -> _Scene:
    sizes = [(_DOT, _DOT) if unit.kind == "junction" else (card, _HEIGHT) for unit in shape.units]
    places = place(ranks, [size[sideways] for size in sizes], _BOX_GAP)
    step = (card if sideways else _HEIGHT) + _LAYER_GAP

    def point(along: float, beside: float) -> tuple[float, float]:
        return (along, beside) if sideways else (beside, along)

    middles = [layer * step + (step - _LAYER_GAP) / 2 for layer in ranks.layer_of]
    boxes = [_Box(*point(middles[item], places.across[item]), *size) for item, size in enumerate(sizes)]
    paths: list[list[tuple[float, float]]] = []
    for route in ranks.routes:
        points: list[tuple[float, float]] = []
        for at, item in enumerate(route):
            half = (sizes[item][not sideways] if item < len(sizes) else step - _LAYER_GAP) / 2
            if at > 0:
                points.append(point(middles[item] - half, places.across[item]))
            if at < len(route) - 1:
                points.append(point(middles[item] + half, places.across[item]))
        paths.append(points)
    along = max(1.0, len(ranks.layers) * step - _LAYER_GAP)
    return _Scene(boxes, paths, *point(along, max(1.0, places.breadth)), sideways)


def _path(points: Sequence[tuple[float, float]], *, sideways: bool) -> str:
    steps = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    for (x0, y0), (x1, y1) in pairwise(points):
        if sideways:
            middle = (x0 + x1) / 2
            steps.append(f"C{middle:.1f} {y0:.1f} {middle:.1f} {y1:.1f} {x1:.1f} {y1:.1f}")
        else:
            middle = (y0 + y1) / 2
            steps.append(f"C{x0:.1f} {middle:.1f} {x1:.1f} {middle:.1f} {x1:.1f} {y1:.1f}")
    return "".join(steps)


def _draw_unit(graph: Graph, unit: Unit, box: _Box, known: Mapping[int, NodeState]) -> Iterator[str]:
    if unit.kind == "junction":
        yield f'<circle cx="{box.x:.1f}" cy="{box.y:.1f}" r="4" fill="{_EDGE}"/>'
        return
    counts = _count(unit.members, known)
    status = _leading(counts)
    colour = _COLOURS[status]
    left, top = box.x - box.width / 2, box.y - box.height / 2
    for shift in (8, 4) if unit.kind == "group" else ():  # edges of cards behind it show that it is a group
        yield _rect(left + shift, top + shift, box, _LINE, "1")
    loud = status in {"running", "failed", "cancelled"}
    yield _rect(left, top, box, colour if loud else _LINE, "1.5" if loud else "1", dashed=status == "skipped")
    yield _mark(status, left + 23, box.y)
    name = _cut(_label(graph, unit), int((box.width - 54) / _LETTER) + 1)
    ink = _MUTED if status == "skipped" else _INK
    text_left = left + 42
    yield (
        f'<text x="{text_left:.1f}" y="{box.y - 4:.1f}" font-size="12.5" font-weight="600" fill="{ink}">'
        f"{_escape(name)}</text>"
    )
    if unit.kind == "group":
        yield from _bar(counts, len(unit.members), text_left, box.y + 5, box.width - 54)
    else:
        caption = _cut(
            _caption(graph, unit.members[0], known.get(unit.members[0])), int((box.width - 54) / _SMALL_LETTER)
        )
        at = f'x="{text_left:.1f}" y="{box.y + 12:.1f}"'
        yield f'<text {at} font-size="11" fill="{_MUTED}">{_escape(caption)}</text>'


def _label(graph: Graph, unit: Unit) -> str:
    node = graph.nodes[unit.members[0]]
    many = f" \N{MULTIPLICATION SIGN}{len(unit.members)}" if unit.kind == "group" else ""
    return f"{short_name(pretty_name(node))}{many}"


def _caption(graph: Graph, node: int, state: NodeState | None) -> str:
    if graph.nodes[node].kind in PLUMBING:
        return NodeKind(graph.nodes[node].kind).name.lower()
    if state is None:
        return status_word("pending")
    if state.status == "pending" and state.next_at is not None:
        return waiting_word(state)
    if state.started_at is not None and state.ended_at is not None:
        took = duration_text(state.ended_at - state.started_at)
        return took if state.status == "completed" else f"{status_word(state.status)} · {took}"
    return status_word(state.status)


def _count(members: Iterable[int], known: Mapping[int, NodeState]) -> dict[Status, int]:
    counts: dict[Status, int] = dict.fromkeys(STATUSES, 0)
    for node in members:
        counts[known[node].status if node in known else "pending"] += 1
    return counts


def _leading(counts: Mapping[Status, int]) -> Status:
    """Return one status for a group: failed before running before pending before the final ones."""
    if counts["failed"] == 0 and counts["pending"] and counts["completed"]:
        return "running"
    order: tuple[Status, ...] = ("failed", "running", "pending", "cancelled", "skipped", "completed")
    return next((status for status in order if counts[status]), "pending")


def _rect(left: float, top: float, box: _Box, line: str, width: str, *, dashed: bool = False) -> str:
    dashes = ' stroke-dasharray="4 3"' if dashed else ""
    return (
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" rx="9" '
        f'fill="{_CARD}" stroke="{line}" stroke-width="{width}"{dashes}/>'
    )


def _mark(status: Status, x: float, y: float) -> str:
    """Return the mark of a status, which differs in shape and not only in colour."""
    colour = _COLOURS[status]
    attributes = f'transform="translate({x:.1f} {y:.1f})" stroke-width="2" stroke-linecap="round"'
    ring = f'<circle r="9" fill="none" stroke="{colour}"'
    disc = f'<circle r="10" fill="{colour}"/><path fill="none" stroke="{_CARD}"'
    shapes: dict[Status, str] = {
        "pending": f"{ring}/>",
        "skipped": f'{ring} stroke-dasharray="3 3"/>',
        "running": f'{ring} stroke-opacity="0.25"/><circle r="2.6" fill="{colour}"/>'
        f'<path fill="none" stroke="{colour}" d="M0-9A9 9 0 0 1 8.6 2.8"/>',
        "completed": f'{disc} d="M-4 .4-1.2 3.2 4.2-3"/>',
        "failed": f'{disc} d="M-3.2-3.2 3.2 3.2M-3.2 3.2 3.2-3.2"/>',
        "cancelled": f'{disc} d="M-4 0H4"/>',
    }
    return f"<g {attributes}>{shapes[status]}</g>"


def _bar(counts: Mapping[Status, int], total: int, left: float, top: float, width: float) -> Iterator[str]:
    yield f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="5" rx="2.5" fill="{_LINE}"/>'
    for status in STATUSES:
        part = width * counts[status] / total
        if part and status != "pending":
            yield f'<rect x="{left:.1f}" y="{top:.1f}" width="{part:.1f}" height="5" fill="{_COLOURS[status]}"/>'
        left += part


def _cut(text: str, letters: int) -> str:
    return text if len(text) <= letters else f"{text[: max(1, letters - 1)]}\N{HORIZONTAL ELLIPSIS}"


def _escape(text: str) -> str:
    return html.escape(_NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text))
