"""History of the cells of a session: their texts and what they have shown, as the next cell finds it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from covalab.worker.outputs.shell import shell

_TEXTS: Final = "texts"
_SHOWN: Final = re.compile(r"Out\[(\d+)\]")
_LAST: Final = ("_", "__", "___")


def parts() -> dict[str, Any]:
    """Return the history in parts, of which each can be left out."""
    ip = shell()
    manager: Any = ip.history_manager
    found: dict[str, Any] = {f"Out[{number}]": value for number, value in manager.output_hist.items()}
    found |= {name: vars(ip.displayhook)[name] for name in _LAST}
    # Lists in lists: no cell holds these, so they are stored only when they are others.
    found[_TEXTS] = ([*manager.input_hist_raw], [*manager.input_hist_parsed])
    return found


def put(found: Mapping[str, Any], namespace: dict[str, Any]) -> None:
    """Make parts the history of this process, and set the names that the shell keeps for them."""
    if not found:
        return
    ip = shell()
    manager: Any = ip.history_manager
    raw, parsed = found.get(_TEXTS, ([""], [""]))
    manager.input_hist_raw[:], manager.input_hist_parsed[:] = raw, parsed
    shown = {int(match[1]): value for name, value in found.items() if (match := _SHOWN.fullmatch(name))}
    manager.output_hist.clear()
    manager.output_hist.update(shown)
    vars(ip.displayhook).update({name: found[name] for name in _LAST if name in found})
    namespace.update({f"_i{number}": text for number, text in enumerate(raw) if number})
    namespace.update({f"_{number}": value for number, value in shown.items()})


def go_on(count: int, value: Any) -> None:
    """Let the next cell be the one after `count`, with `value` as what `_` is."""
    ip = shell()
    ip.execution_count = count + 1
    if value is not None:
        hook: Any = ip.displayhook
        hook._ = value
