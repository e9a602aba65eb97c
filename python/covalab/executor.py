"""Executors, as ``ct.executor`` and ``from covalab.executor import ...``. They live in `covalab.executors`."""

from __future__ import annotations

from typing import Any

from covalab import executors
from covalab.executors import (
    AsyncBaseExecutor,
    BaseExecutor,
    DaskExecutor,
    LocalExecutor,
    RemoteExecutor,
    _executor_manager,
    base,
)

__all__ = [
    "AsyncBaseExecutor",
    "BaseExecutor",
    "DaskExecutor",
    "LocalExecutor",
    "RemoteExecutor",
    "_executor_manager",
    "base",
]


def __getattr__(name: str) -> Any:
    return getattr(executors, name)  # the classes of plug-ins
