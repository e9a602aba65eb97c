"""DOT source of a graph, and pictures that Graphviz's program ``dot`` draws from it, where it is installed.

The `graphviz` package writes the source, so names of users are quoted as DOT wants them. The boxes are those of our own
picture: plumbing is hidden, and many similar nodes are one box.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from covalab.core.errors import GraphError
from covalab.core.model import Graph, NodeState
from covalab.view.pdf import graph_pdf
from covalab.view.picture import COLOURS, caption_of, counts_of, graph_svg, leading, names_of
from covalab.view.shape import Shape, Unit, shape_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from graphviz import Digraph

_LONGEST: Final = 60
"""Longest label, in letters."""

_MOST_BOXES: Final = 2_000
"""Largest number of boxes for ``dot``, whose time grows faster than the graph; our own layout takes linear time."""

_NOT_TEXT: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
"""Characters that no picture can show, or that cannot be encoded."""


def dot_source(graph: Graph, states: Iterable[NodeState]) -> str:
    r"""Return a transport graph as DOT source.

    Parameters
    ----------
    graph
        The graph.
    states
        The states of its nodes; nodes that are left out have not started.

    Examples
    --------
    >>> from covalab.core.model import Node, NodeKind, Settings
    >>> one = Graph("flow", [Node("fit", NodeKind.ELECTRON, 0)], [], [], [Settings()], 0)
    >>> r'label="fit\nPending"' in dot_source(one, [])
    True
    """
    return str(_digraph(graph, _known(states)).source)


def dot_svg(graph: Graph, states: Iterable[NodeState]) -> str:
    """Return a picture by ``dot``; by our own layout where there is no such program, or too much to draw for it."""
    from graphviz import CalledProcessError, ExecutableNotFound  # noqa: PLC0415 - as below

    known = _known(states)
    shape = _shape(graph, known)
    if len(shape.units) <= _MOST_BOXES:
        try:
            drawn: str = _digraph(graph, known, shape).pipe(format="svg", encoding="utf-8", quiet=True)
            return drawn[drawn.index("<svg") :]
        except (ExecutableNotFound, CalledProcessError, ValueError):  # it is not there, or not whole
            pass
    return graph_svg(graph, known.values())


def dot_pdf(graph: Graph, states: Iterable[NodeState]) -> bytes:
    """Return a PDF by ``dot``; by our own layout and matplotlib where there is no such program.

    Raises
    ------
    GraphError
        If there is neither.
    """
    from graphviz import CalledProcessError, ExecutableNotFound  # noqa: PLC0415 - as below

    known = _known(states)
    shape = _shape(graph, known)
    if len(shape.units) <= _MOST_BOXES:
        try:
            drawn: bytes = _digraph(graph, known, shape).pipe(format="pdf", quiet=True)
        except (ExecutableNotFound, CalledProcessError):
            pass
        else:
            return drawn
    try:
        return graph_pdf(graph, known.values())
    except ImportError as error:
        message = (
            f"a PDF of {graph.name!r} is drawn by Graphviz's program `dot` or by matplotlib, and neither can be had; "
            "install one (`apt install graphviz`, `pip install matplotlib`), or take 'svg', which needs nothing"
        )
        raise GraphError(message) from error


def _known(states: Iterable[NodeState]) -> dict[int, NodeState]:
    return {state.node: state for state in states}


def _shape(graph: Graph, known: Mapping[int, NodeState]) -> Shape:
    return shape_of(graph.nodes, graph.edges, keep=[node for node, it in known.items() if it.status == "failed"])


def _digraph(graph: Graph, known: Mapping[int, NodeState], shape: Shape | None = None) -> Digraph:
    from graphviz import Digraph  # noqa: PLC0415 - only who asks for DOT needs it

    shape = _shape(graph, known) if shape is None else shape
    made = Digraph(
        "transport_graph",
        graph_attr={"rankdir": "LR", "label": _text(graph.name), "labelloc": "t", "fontname": "Helvetica"},
        node_attr={"shape": "box", "style": "rounded", "fontname": "Helvetica"},
        edge_attr={"color": "#b5b5b5"},
    )
    for number, (unit, name) in enumerate(zip(shape.units, names_of(graph, shape), strict=True)):
        made.node(str(number), **_attributes(graph, unit, known, name))
    for source, target in shape.edges:
        made.edge(str(source), str(target))
    return made


def _attributes(graph: Graph, unit: Unit, known: Mapping[int, NodeState], name: str) -> dict[str, str]:
    """Return how a box looks: its name, its state in words, and the state's colour."""
    if unit.kind == "junction":
        return {"shape": "point", "label": ""}
    status = leading(counts_of(unit.members, known))
    first = unit.members[0]
    words = status.capitalize() if unit.kind == "group" else caption_of(graph, first, known.get(first))
    style = "rounded,dashed" if status == "skipped" else "rounded"
    attributes = {"label": f"{_text(name)}\\n{_text(words)}", "color": COLOURS[status], "style": style}
    return attributes | ({"peripheries": "2"} if unit.kind == "group" else {})


def _text(text: str) -> str:
    """Return a text as a label that shows just it: backslashes, brackets and ampersands mean nothing."""
    from graphviz import escape  # noqa: PLC0415 - as above

    cut = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}\N{HORIZONTAL ELLIPSIS}"
    # `dot` reads entities, as HTML has them.
    label: str = escape(_NOT_TEXT.sub("\N{REPLACEMENT CHARACTER}", cut).replace("&", "&amp;"))
    return label
