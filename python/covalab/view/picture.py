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

from covalab.core.duration_text import duration_text
from covalab.core.labels import labels
from covalab.core.model import Graph, NodeKind, NodeState, Status
from covalab.view.layout import Ranks, place, rank
from covalab.view.shape import PLUMBING, Shape, Unit, shape_of
from covalab.view.words import STATUSES, pretty_name, short_name, status_word, waiting_word

COLOURS: Final[Mapping[Status, str]] = {
    "pending": "#9e9e9e",
    "running": "#1976d2",
    "completed": "#388e3c",
    "failed": "#d32f2f",
    "cancelled": "#f57c00",
    "skipped": "#9e9e9e",
}
_PAPER, CARD, _LINE, EDGE, INK, MUTED = "#f7f7f7", "#ffffff", "#dcdcdc", "#b5b5b5", "#212121", "#757575"
_FONT: Final = "system-ui,-apple-system,'Segoe UI',Helvetica,Arial,'DejaVu Sans',sans-serif"

_HEIGHT: Final = 46.0
_NARROWEST, _WIDEST, _CARD_PAD, _LETTER = 138.0, 212.0, 58.0, 7.6
_SMALL_LETTER: Final = 5.8
_LAYER_GAP, _BOX_GAP, _DOT, MARGIN = 40.0, 14.0, 8.0, 24.0
_WINDOW: Final = (812.0, 392.0)
"""Width and height of a typical output; they decide whether the graph runs sideways or down."""

_NOT_XML: Final = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML forbids, even escaped."""


class Box(NamedTuple):
    """A drawn box, by its centre."""

    x: float
    y: float
    width: float
    height: float


class Scene(NamedTuple):
    """Where the boxes and the edges of a picture are, without a margin."""

    boxes: list[Box]
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
    names = names_of(graph, shape)
    scene = arrange(shape, names)
    width, height = scene.width + 2 * MARGIN, scene.height + 2 * MARGIN
    size = f'viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="{_FONT}" role="img">',
        f"<title>{_escape(short_name(graph.name))}</title>",
        f'<rect width="100%" height="100%" rx="10" fill="{_PAPER}"/>',
        f'<g transform="translate({MARGIN:.0f} {MARGIN:.0f})">',
        f'<g fill="none" stroke="{EDGE}" stroke-width="1.2">',
        *(f'<path d="{_path(points, sideways=scene.sideways)}"/>' for points in scene.paths),
        "</g>",
    ]
    for unit, box, name in zip(shape.units, scene.boxes, names, strict=True):
        parts.extend(_draw_unit(graph, unit, box, known, name))
    parts.append("</g></svg>")
    return "".join(parts)


def arrange(shape: Shape, names: Iterable[str]) -> Scene:
    """Lay out the shape sideways or down, whichever is larger in the window."""
    longest = max(map(len, names), default=0)
    card = min(_WIDEST, max(_NARROWEST, _CARD_PAD + _LETTER * longest))
    ranks = rank(len(shape.units), shape.edges)
    across, down = (_arrange_one_way(shape, ranks, card, sideways=sideways) for sideways in (True, False))
    # Cards are wide: reading from left to right is the better picture unless it is much smaller.
    return down if _scale(down) > 1.6 * _scale(across) else across


def _scale(scene: Scene) -> float:
    return min(1.0, _WINDOW[0] / max(1.0, scene.width), _WINDOW[1] / max(1.0, scene.height))


def _arrange_one_way(shape: Shape, ranks: Ranks, card: float, *, sideways: bool) -> Scene:
    sizes = [(_DOT, _DOT) if unit.kind == "junction" else (card, _HEIGHT) for unit in shape.units]
    places = place(ranks, [size[sideways] for size in sizes], _BOX_GAP)
    step = (card if sideways else _HEIGHT) + _LAYER_GAP

    def point(along: float, beside: float) -> tuple[float, float]:
        return (along, beside) if sideways else (beside, along)

    middles = [layer * step + (step - _LAYER_GAP) / 2 for layer in ranks.layer_of]
    boxes = [Box(*point(middles[item], places.across[item]), *size) for item, size in enumerate(sizes)]
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
    return Scene(boxes, paths, *point(along, max(1.0, places.breadth)), sideways)


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


def _draw_unit(graph: Graph, unit: Unit, box: Box, known: Mapping[int, NodeState], name: str) -> Iterator[str]:
    if unit.kind == "junction":
        yield f'<circle cx="{box.x:.1f}" cy="{box.y:.1f}" r="4" fill="{EDGE}"/>'
        return
    counts = counts_of(unit.members, known)
    status = leading(counts)
    colour = COLOURS[status]
    left, top = box.x - box.width / 2, box.y - box.height / 2
    for shift in (8, 4) if unit.kind == "group" else ():  # edges of cards behind it show that it is a group
        yield _rect(left + shift, top + shift, box, _LINE, "1")
    loud = status in {"running", "failed", "cancelled"}
    yield _rect(left, top, box, colour if loud else _LINE, "1.5" if loud else "1", dashed=status == "skipped")
    yield _mark(status, left + 23, box.y)
    name = _cut(name, int((box.width - 54) / _LETTER) + 1)
    ink = MUTED if status == "skipped" else INK
    text_left = left + 42
    yield (
        f'<text x="{text_left:.1f}" y="{box.y - 4:.1f}" font-size="12.5" font-weight="600" fill="{ink}">'
        f"{_escape(name)}</text>"
    )
    if unit.kind == "group":
        yield from _bar(counts, len(unit.members), text_left, box.y + 5, box.width - 54)
    else:
        caption = _cut(
            caption_of(graph, unit.members[0], known.get(unit.members[0])), int((box.width - 54) / _SMALL_LETTER)
        )
        at = f'x="{text_left:.1f}" y="{box.y + 12:.1f}"'
        yield f'<text {at} font-size="11" fill="{MUTED}">{_escape(caption)}</text>'


def names_of(graph: Graph, shape: Shape) -> list[str]:
    """Return the names of boxes: of a group with the number of its nodes, else with its label (`core.labels`)."""
    told_apart = labels(graph.nodes, graph.edges)
    return [_name_of(graph, unit, told_apart) for unit in shape.units]


def _name_of(graph: Graph, unit: Unit, told_apart: Mapping[int, str]) -> str:
    first = unit.members[0]
    more = f" \N{MULTIPLICATION SIGN}{len(unit.members)}" if unit.kind == "group" else told_apart.get(first, "")
    return f"{short_name(pretty_name(graph.nodes[first]))}{more}"


def caption_of(graph: Graph, node: int, state: NodeState | None) -> str:
    """Return the state of a node in words, and how long it took; of plumbing, its kind."""
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


def counts_of(members: Iterable[int], known: Mapping[int, NodeState]) -> dict[Status, int]:
    """Count nodes by their status."""
    counts: dict[Status, int] = dict.fromkeys(STATUSES, 0)
    for node in members:
        counts[known[node].status if node in known else "pending"] += 1
    return counts


def leading(counts: Mapping[Status, int]) -> Status:
    """Return one status for a group: failed before running before pending before the final ones."""
    if counts["failed"] == 0 and counts["pending"] and counts["completed"]:
        return "running"
    order: tuple[Status, ...] = ("failed", "running", "pending", "cancelled", "skipped", "completed")
    return next((status for status in order if counts[status]), "pending")


def _rect(left: float, top: float, box: Box, line: str, width: str, *, dashed: bool = False) -> str:
    dashes = ' stroke-dasharray="4 3"' if dashed else ""
    return (
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" rx="9" '
        f'fill="{CARD}" stroke="{line}" stroke-width="{width}"{dashes}/>'
    )


def _mark(status: Status, x: float, y: float) -> str:
    """Return the mark of a status, which differs in shape and not only in colour."""
    colour = COLOURS[status]
    attributes = f'transform="translate({x:.1f} {y:.1f})" stroke-width="2" stroke-linecap="round"'
    ring = f'<circle r="9" fill="none" stroke="{colour}"'
    disc = f'<circle r="10" fill="{colour}"/><path fill="none" stroke="{CARD}"'
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
            yield f'<rect x="{left:.1f}" y="{top:.1f}" width="{part:.1f}" height="5" fill="{COLOURS[status]}"/>'
        left += part


def fitting(text: str, width: float, size: float) -> str:
    """Return as much of a text as fits into a width in letters of a size, without what no picture can show."""
    return _cut(_NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text), int(width / (_SMALL_LETTER / 11 * size)))


def _cut(text: str, letters: int) -> str:
    return text if len(text) <= letters else f"{text[: max(1, letters - 1)]}\N{HORIZONTAL ELLIPSIS}"


def _escape(text: str) -> str:
    return html.escape(_NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text))
