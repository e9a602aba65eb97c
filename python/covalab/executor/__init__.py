"""Executors, as ``ct.executor`` and by Covalent's paths below it. They live in `covalab.executors`.

Each module below this one puts the module that it speaks of in its own place, so that a class, and the module itself,
is one object by every path: an executor of another class than the host's is refused.
"""

from __future__ import annotations

from typing import Any

from covalab import executors
from covalab.executor import base
from covalab.executors import (
    AsyncBaseExecutor,
    BaseExecutor,
    DaskExecutor,
    LocalExecutor,
    RemoteExecutor,
    _executor_manager,
)
from covalab.sdk.configuration import get_config

__all__ = [
    "AsyncBaseExecutor",
    "BaseExecutor",
    "DaskExecutor",
    "LocalExecutor",
    "RemoteExecutor",
    "_executor_manager",
    "base",
    "get_config",
]


def __getattr__(name: str) -> Any:
    if name.startswith("__"):  # the import system asks for some, and must not get those of another package
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(executors, name)  # the classes of plug-ins
