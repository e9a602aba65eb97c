"""PDF of our own picture, for who has no Graphviz: the boxes and edges of `picture`, drawn by matplotlib.

matplotlib is not asked for by covalab; where it is not installed, importing this module's function fails as it does.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from covalab.core.model import Graph, NodeState
from covalab.view.picture import (
    CARD,
    COLOURS,
    EDGE,
    INK,
    MARGIN,
    MUTED,
    Box,
    arrange,
    caption_of,
    counts_of,
    fitting,
    leading,
    names_of,
)
from covalab.view.shape import Unit, shape_of

if TYPE_CHECKING:
    from collections.abc import Sequence

_POINTS: Final = 72.0
_LONGEST_SIDE: Final = 14_000.0
"""Longest side of a page in points; a PDF may have little more."""


def graph_pdf(graph: Graph, states: Iterable[NodeState]) -> bytes:
    """Draw a transport graph as a PDF of one page.

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    """
    from matplotlib.backends.backend_pdf import FigureCanvasPdf  # noqa: PLC0415 - only who wants a PDF needs it
    from matplotlib.figure import Figure  # noqa: PLC0415 - as above

    known = {state.node: state for state in states}
    failed = [node for node, state in known.items() if state.status == "failed"]
    shape = shape_of(graph.nodes, graph.edges, keep=failed)
    names = names_of(graph, shape)
    scene = arrange(shape, names)
    width, height = scene.width + 2 * MARGIN, scene.height + 2 * MARGIN
    scale = min(1.0, _LONGEST_SIDE / max(width, height))
    figure = Figure(figsize=(width * scale / _POINTS, height * scale / _POINTS))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-MARGIN, width - MARGIN), ylim=(height - MARGIN, -MARGIN))
    axes.axis("off")
    for points in scene.paths:
        axes.add_patch(_curve(points, sideways=scene.sideways, width=1.2 * scale))
    for unit, box, name in zip(shape.units, scene.boxes, names, strict=True):
        status = leading(counts_of(unit.members, known))
        first = unit.members[0]
        caption = status.capitalize() if unit.kind == "group" else caption_of(graph, first, known.get(first))
        _draw(axes, unit, box, COLOURS[status], (name, caption), scale)
    page = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a letter that the font does not have is drawn as a box
        canvas: Any = FigureCanvasPdf(figure)
        canvas.print_pdf(page)
    return page.getvalue()


def _curve(points: Sequence[tuple[float, float]], *, sideways: bool, width: float) -> Any:
    """Return an edge through points, bent as in the picture."""
    from matplotlib.patches import PathPatch  # noqa: PLC0415 - as above
    from matplotlib.path import Path  # noqa: PLC0415 - as above

    vertices, codes = [points[0]], [Path.MOVETO]
    for (x0, y0), (x1, y1) in pairwise(points):
        middle = (x0 + x1) / 2 if sideways else (y0 + y1) / 2
        bends = [(middle, y0), (middle, y1)] if sideways else [(x0, middle), (x1, middle)]
        vertices += [*bends, (x1, y1)]
        codes += [Path.CURVE4] * 3
    return PathPatch(Path(vertices, codes), fill=False, edgecolor=EDGE, linewidth=width)


def _draw(axes: Any, unit: Unit, box: Box, colour: str, texts: tuple[str, str], scale: float) -> None:
    """Draw a box with its name, and its state in words and as the colour of a disc."""
    from matplotlib.patches import Circle, FancyBboxPatch  # noqa: PLC0415 - as above

    if unit.kind == "junction":
        axes.add_patch(Circle((box.x, box.y), 4, color=EDGE))
        return
    left, top = box.x - box.width / 2, box.y - box.height / 2
    rounded: dict[str, Any] = {"boxstyle": "round,pad=0,rounding_size=9", "facecolor": CARD, "linewidth": scale}
    for shift in (8, 4, 0) if unit.kind == "group" else (0,):
        axes.add_patch(FancyBboxPatch((left + shift, top + shift), box.width, box.height, edgecolor=colour, **rounded))
    axes.add_patch(Circle((left + 23, box.y), 8, color=colour))
    name, caption = texts
    for text, size, ink, y in ((name, 12.5, INK, box.y - 8), (caption, 11.0, MUTED, box.y + 9)):
        # Names are no formulas, whatever they contain and whatever the user's settings are.
        axes.text(
            *(left + 42, y, fitting(text, box.width - 54, size)),
            color=ink,
            fontsize=size * 0.85 * scale,
            va="center",
            parse_math=False,
            usetex=False,
        )
