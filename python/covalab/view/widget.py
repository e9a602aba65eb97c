"""Widget for notebooks whose server does not have our extension.

The browser side is `labextension/src/model/kernelSource.ts`. A thread reads changes from the dispatcher and sends them
to the browser. It starts when the browser reports that the view is shown, and ends when the dispatch has ended or the
widget is closed. Requests from the browser wait while the kernel is busy, because the kernel handles their messages.
"""

from __future__ import annotations

import getpass
import threading
from pathlib import Path
from typing import Any, Final

import anywidget
import msgspec
import traitlets

from covalab.client import Client, connect
from covalab.core.browser_views import execution_view, node_view, stream_view
from covalab.core.errors import CovalabError
from covalab.core.journal import Command, ExecutionSnapshot
from covalab.core.lifecycle import TERMINAL
from covalab.core.model import DispatchChanges, DispatchId
from covalab.core.run_log import LogQuery

_STATIC: Final = Path(__file__).parent.parent / "static"

_HOLD: Final = 20.0
"""Seconds for which one request for changes is held open."""

_PAUSE: Final = 0.1
"""Seconds between two messages about changes; changes in between are one message."""

_RETRY: Final = (1.0, 2.0, 5.0, 10.0)
"""Seconds before the next request after the first failure, the second, and so on."""


class DispatchWidget(anywidget.AnyWidget):
    """Live view of one dispatch.

    Parameters
    ----------
    bundle
        The dispatch in the form of `view.bundle`; displayed at once.
    """

    _esm = _STATIC / "widget.js"
    _css = _STATIC / "widget.css"
    bundle = traitlets.Dict().tag(sync=True)

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._dispatch = DispatchId(self.bundle["id"])
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        self.on_msg(self._on_message)

    def close(self) -> None:
        """Stop the thread and remove the widget from the page."""
        self._closed.set()
        super().close()

    def _client(self) -> Client:
        return connect(start=False)

    def _on_message(  # noqa: C901 - one case for each kind of message
        self, _widget: object, content: dict[str, Any], _buffers: object
    ) -> None:
        try:
            match content:
                case {"type": "shown", "since": int(since), "graph": bool(has_graph)}:
                    self._on_displayed(since, has_graph=has_graph)
                case {"type": "node", "request": request, "node": int(node)}:
                    detail = self._client().node(self._dispatch, node)
                    self.send({"type": "node", "request": request, "detail": _builtins(node_view(detail))})
                case {"type": "timeline", "request": request}:
                    found = self._client().timeline(self._dispatch)
                    self.send({"type": "timeline", "request": request, "timeline": _builtins(found)})
                case {"type": "log", "request": request, "query": dict(query)}:
                    lines = self._client().log(self._dispatch, msgspec.convert(query, LogQuery))
                    self.send({"type": "log", "request": request, "log": _builtins(lines)})
                case {"type": "cancel", "request": request}:
                    self._client().cancel(self._dispatch)
                    self.send({"type": "done", "request": request})
                case {"type": "execution", "request": request}:
                    self._send_execution(request, self._client().execution(self._dispatch))
                case {"type": "stream", "request": request, "since": int(since), "last": int(last)}:
                    page = self._client().stream(self._dispatch, since, last=last)
                    self.send({"type": "stream", "request": request, "page": _builtins(stream_view(page))})
                case {
                    "type": "command",
                    "request": request,
                    "command": {"action": "answer" | "pause" | "resume"} as command,
                }:
                    # As text, so that 1.0 stays what it is.
                    plain = {"plain": msgspec.json.decode(content["json"])} if "json" in content else {}
                    given = msgspec.convert({**command, **plain, "data": {"actor": getpass.getuser()}}, Command)
                    self._send_execution(request, self._client().command(self._dispatch, given))
        except (CovalabError, msgspec.MsgspecError, OverflowError) as error:
            if "request" in content:
                self.send({"type": "problem", "request": content["request"], "message": str(error)})
            else:
                self._send_stale(error)

    def _send_execution(self, request: str, snapshot: ExecutionSnapshot) -> None:
        self.send({"type": "execution", "request": request, "execution": _builtins(execution_view(snapshot))})

    def _on_displayed(self, since: int, *, has_graph: bool) -> None:
        if not has_graph:
            graph = self._client().graph(self._dispatch)
            drawn = {"nodes": graph.nodes, "edges": graph.edges, "output": graph.output}
            self.send({"type": "graph", "graph": _builtins(drawn)})
        changes = self._client().changes(self._dispatch, since)
        self._send_changes(changes)
        running = self._thread is not None and self._thread.is_alive()
        if not running and changes.summary.status not in TERMINAL:
            self._thread = threading.Thread(
                target=self._follow, args=(changes.summary.version,), name="covalab-widget", daemon=True
            )
            self._thread.start()

    def _follow(self, version: int) -> None:
        failures = 0
        while not self._closed.is_set():
            try:
                changes = self._client().changes(self._dispatch, version, wait=_HOLD)
            except CovalabError as error:
                self._send_stale(error)
                self._closed.wait(_RETRY[min(failures, len(_RETRY) - 1)])
                failures += 1
                continue
            if changes.summary.version > version or failures:  # after a failure, also to end the "last seen" message
                self._send_changes(changes)
            elif not self._closed.is_set():
                # The wait ended without a new version: the execution may have changed.
                self.send({"type": "execution_changed"})
            version, failures = changes.summary.version, 0
            if changes.summary.status in TERMINAL:
                return
            self._closed.wait(_PAUSE)

    def _send_changes(self, changes: DispatchChanges) -> None:
        if not self._closed.is_set():
            self.send({"type": "changes", "changes": _builtins(changes)})

    def _send_stale(self, error: Exception) -> None:
        if not self._closed.is_set():
            self.send({"type": "stale", "message": f"Shown as last seen: {error}"})


def _builtins(thing: object) -> Any:
    return msgspec.to_builtins(thing)
