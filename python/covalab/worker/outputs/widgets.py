"""Widgets in a task: there is no kernel that a page could ask, so their text stands for them, and follows them.

A progress bar of `tqdm.notebook` is one: its text has the bar.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

from covalab.worker.outputs.recorder import recorder

VIEW: Final = "application/vnd.jupyter.widget-view+json"
_PLAIN: Final = "text/plain"
_SECONDS: Final = 0.2
_ID: Final = "covalab-widget-"


class _Shown:
    """The widgets that the running node shows, and their texts."""

    texts: Final[dict[str, str]] = {}
    looked_at = 0.0


def show(data: Mapping[str, Any], metadata: Mapping[str, Any] | None) -> None:
    """Record a display of a widget; when its state changes, or at the end of the node, its text is recorded again."""
    model = str(data[VIEW].get("model_id", ""))
    text = str(data.get(_PLAIN, ""))
    with suppress(Exception):  # `repr` is the user's code, and the rest may be of another version than is known here
        text = _text_of(model)
    rest = {**{kind: content for kind, content in data.items() if kind != VIEW}, _PLAIN: text}
    _Shown.texts[model] = text
    recorder.display(rest, metadata, _ID + model)
    with suppress(Exception):  # of another version than is known here: the texts are recorded again at the end
        sys.modules["comm"].DummyComm.publish_msg = _on_message


def _text_of(model: str) -> str:
    widgets: Any = sys.modules["ipywidgets.widgets.widget"]
    pretty: Any = sys.modules["IPython.lib.pretty"]
    text: str = pretty.pretty(widgets._instances[model])  # noqa: SLF001
    return text


def refresh() -> None:
    """Record the texts that have changed."""
    if not _Shown.texts:
        return
    _Shown.looked_at = time.monotonic()
    for model, before in list(_Shown.texts.items()):
        with suppress(Exception):  # as above; one that was closed keeps its last text
            now = _text_of(model)
            if now != before:
                _Shown.texts[model] = now
                recorder.update({_PLAIN: now}, None, _ID + model)


def forget() -> None:
    """Begin another node."""
    _Shown.texts.clear()


def _on_message(*_: Any, **__: Any) -> None:
    if time.monotonic() - _Shown.looked_at > _SECONDS:
        refresh()
