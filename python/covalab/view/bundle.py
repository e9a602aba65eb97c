"""Output of a dispatch: one MIME bundle with a part for every kind of page.

Our own type for pages with our extension (live, without a kernel), the widget for pages without it, HTML for pages that
run no code, text for the rest. Text from users is escaped; outputs of nodes are what the tasks displayed, and the page
that shows them decides by its own rule of trust.
"""

from __future__ import annotations

import base64
import html
import logging
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from covalab.core.duration_text import duration_text
from covalab.core.model import Counts, DispatchSummary, Graph, NodeState
from covalab.view.node_outputs import NodeDisplays, displays_html, displays_json, displays_text
from covalab.view.picture import graph_svg
from covalab.view.running_cell import has_kernel, source_of_display
from covalab.view.shape import drawn_counts
from covalab.view.words import counts_text, moment_text, short_error, short_name, summary_word

MIME_TYPE: Final = "application/vnd.covalab.dispatch+json"
WIDGET_MIME_TYPE: Final = "application/vnd.jupyter.widget-view+json"

GRAPH_LIMIT: Final = 300
"""Largest graph that is saved in the notebook's file; pages read larger ones from the server."""

_PICTURE_LIMIT: Final = 10_000
_PICTURE_CHARACTERS: Final = 100_000
_IMAGE: Final = "display:block;max-width:100%;max-height:440px;margin:6px 0"

_log = logging.getLogger(__name__)


def dispatch_bundle(
    summary: DispatchSummary,
    graph: Graph | None,
    states: Iterable[NodeState],
    *,
    widget: bool = True,
    displays: NodeDisplays | None = None,
    seen_at: float | None = None,
) -> dict[str, Any]:
    """Return the output of a dispatch, for `_repr_mimebundle_`.

    No path of the machine is in it: of the notebook's only the name.

    Parameters
    ----------
    summary
        The dispatch.
    graph
        Its graph, if it is known.
    states
        The states of its nodes.
    widget
        Whether to include the widget, where there is a kernel to update it. Not if the dispatch has ended and has
        `displays`: the widget has no renderers for them, and HTML has.
    displays
        The outputs of its nodes that are shown.
    seen_at
        When it was like this; now, if not given. Said of a dispatch that had not ended.
    """
    states = list(states)
    summary = msgspec.structs.replace(summary, notebook=_file_name(summary.notebook))
    counts = summary.counts if graph is None else drawn_counts(summary.counts, graph.nodes, states)
    picture = _picture(summary, graph, states)
    if graph is not None and len(graph.nodes) > GRAPH_LIMIT:
        graph, states = None, []
    data = {**_json(summary, graph, states), **source_of_display()}
    bundle: dict[str, Any] = {
        MIME_TYPE: data,
        "text/html": _html(summary, picture, counts, time.time() if seen_at is None else seen_at),
        "text/plain": _text(summary, counts),
    }
    if displays is not None and displays.nodes:
        bundle = {
            MIME_TYPE: {**data, "outputs": displays_json(displays)},
            "text/html": f"<div>{bundle['text/html']}{displays_html(displays)}</div>",
            "text/plain": f"{bundle['text/plain']}\n{displays_text(displays)}",
        }
        widget = widget and summary.ended_at is None
    if widget and has_kernel():
        bundle.update(_widget_view(data))
    return bundle


def _text(summary: DispatchSummary, counts: Counts) -> str:
    """Return a dispatch as one line."""
    took = _duration(summary)
    word = summary_word(summary)
    parts = [f"{word[:1].lower()}{word[1:]}, {counts_text(counts)}", *([took] if took else [])]
    return f"{short_name(summary.name)}: {', '.join(parts)} (dispatch {summary.id})"


def _file_name(path: str) -> str:
    """Return the last part of a path of this machine or another."""
    return path.replace("\\", "/").rpartition("/")[2]


def _picture(summary: DispatchSummary, graph: Graph | None, states: Sequence[NodeState]) -> str:
    """Return the picture of a graph; of a large one only once the dispatch has ended, and if it is small itself."""
    if graph is None or len(graph.nodes) > (GRAPH_LIMIT if summary.ended_at is None else _PICTURE_LIMIT):
        return ""
    picture = graph_svg(graph, states)
    return picture if len(graph.nodes) <= GRAPH_LIMIT or len(picture) <= _PICTURE_CHARACTERS else ""


def _html(summary: DispatchSummary, picture: str, counts: Counts, seen_at: float) -> str:
    """Return a dispatch as HTML that notebooks do not strip: no script, no classes, no inline SVG."""
    rows = {
        "Dispatch": summary.id,
        "Status": f"{summary_word(summary)} · {counts_text(counts)}",
        "Took" if summary.ended_at is not None else "So far": _duration(summary),
        "Ended": "" if summary.ended_at is None else moment_text(summary.ended_at),
        "As of": moment_text(seen_at) if summary.ended_at is None else "",
        "Notebook": summary.notebook,
        "Error": short_error(summary.error),
    }
    table = "".join(
        f'<tr><th style="text-align:left;vertical-align:top">{name}</th>'
        f'<td style="text-align:left;white-space:pre-wrap">{html.escape(text)}</td></tr>'
        for name, text in rows.items()
        if text
    )
    if picture:
        data = base64.b64encode(picture.encode()).decode("ascii")
        alt = html.escape(f"Transport graph of {short_name(summary.name)}")
        picture = f'<img src="data:image/svg+xml;base64,{data}" alt="{alt}" style="{_IMAGE}">'
    return f"<div><strong>{html.escape(short_name(summary.name))}</strong>{picture}<table>{table}</table></div>"


def _json(summary: DispatchSummary, graph: Graph | None, states: Sequence[NodeState]) -> dict[str, Any]:
    drawn = None if graph is None else {"nodes": graph.nodes, "edges": graph.edges, "output": graph.output}
    found: dict[str, Any] = msgspec.to_builtins(
        {"id": summary.id, "summary": summary, "graph": drawn, "states": states}
    )
    return found


def _duration(summary: DispatchSummary) -> str:
    if summary.started_at is None or summary.ended_at is None:
        return ""
    return duration_text(summary.ended_at - summary.started_at)


def _widget_view(bundle: dict[str, Any]) -> dict[str, Any]:
    """Return the widget's part of the bundle, or nothing if the widget cannot be made: the other parts do without."""
    try:
        from covalab.view.widget import DispatchWidget  # noqa: PLC0415 - start-up time: loads anywidget

        view = DispatchWidget(bundle=bundle)._repr_mimebundle_()
    except Exception:  # noqa: BLE001 - boundary to the kernel, ipywidgets and anywidget of the user's environment
        _log.warning("this output has no widget; pages with the covalab extension need none", exc_info=True)
        return {}
    parts = view[0] if isinstance(view, tuple) else view or {}
    return {WIDGET_MIME_TYPE: parts[WIDGET_MIME_TYPE]} if WIDGET_MIME_TYPE in parts else {}
