"""Event loop of cells that await nothing: in a kernel the loop runs while they do, so that they can make tasks for it.

`asyncio.run` needs a thread without one; a cell that calls it gets none, and works here also where it would not there.
"""

from __future__ import annotations

import asyncio
import re
import types
from collections.abc import Mapping
from typing import Any, Final

_WANTS_LOOP: Final = frozenset(
    {"create_task", "ensure_future", "gather", "shield", "current_task", "all_tasks"}
    | {"get_running_loop", "get_event_loop"}
)
_RUNS_LOOP: Final = frozenset({"run_until_complete", "run_forever", "run", "Runner", "nest_asyncio"})
_WORD: Final = re.compile(r"[^\W\d]\w*")


def enter(text: str, namespace: Mapping[str, Any]) -> None:
    """Let IPython's loop be the running one, if a cell or a function that it names wants one."""
    words = {*_WORD.findall(text)}
    for name in words & namespace.keys():
        value = namespace[name]
        if type(value) is types.FunctionType and value.__globals__ is namespace:
            words.update(value.__code__.co_names)
    if not words.isdisjoint(_WANTS_LOOP) and words.isdisjoint(_RUNS_LOOP) and _is_outside():
        from IPython.core.async_helpers import get_asyncio_loop  # noqa: PLC0415 - rarely needed

        asyncio._set_running_loop(get_asyncio_loop())  # noqa: SLF001 - to run it would end only with the cell
        _process.is_inside = True


def _is_outside() -> bool:
    return asyncio._get_running_loop() is None  # noqa: SLF001


def leave() -> None:
    """Let no loop be the running one any more."""
    if _process.is_inside:
        asyncio._set_running_loop(None)  # noqa: SLF001
        _process.is_inside = False


class _Process:
    is_inside = False


_process: Final = _Process()
