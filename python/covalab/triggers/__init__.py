"""Triggers: run a workflow when something happens (Covalent, how-to "Attach a trigger to a workflow").

A trigger watches in a process of its own, beside the dispatcher, under the interpreter of the notebook that made it. It
goes on when the notebook is closed, when the dispatcher is started again, and when either of them is killed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from covalab.triggers.base import BaseTrigger, available_triggers
    from covalab.triggers.database import DatabaseTrigger
    from covalab.triggers.dir import DirTrigger
    from covalab.triggers.sqlite import SQLiteTrigger
    from covalab.triggers.time import TimeTrigger

__all__ = ["BaseTrigger", "DatabaseTrigger", "DirTrigger", "SQLiteTrigger", "TimeTrigger", "available_triggers"]

_HOMES: Final = {
    "BaseTrigger": "base",
    "DatabaseTrigger": "database",
    "DirTrigger": "dir",
    "SQLiteTrigger": "sqlite",
    "TimeTrigger": "time",
    "available_triggers": "base",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        message = f"module 'covalab.triggers' has no attribute {name!r}"
        raise AttributeError(message)
    found = globals()[name] = getattr(importlib.import_module(f"covalab.triggers.{_HOMES[name]}"), name)
    return found
