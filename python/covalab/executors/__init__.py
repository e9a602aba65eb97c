"""Executors: ``covalab.executor``. Classes of plug-ins are attributes of this package, by class name."""

from __future__ import annotations

from typing import Any

from covalab.executors.base import AsyncBaseExecutor, BaseExecutor
from covalab.executors.dask import DaskExecutor
from covalab.executors.local import LocalExecutor
from covalab.executors.manager import _executor_manager
from covalab.executors.remote import RemoteExecutor

__all__ = [
    "AsyncBaseExecutor",
    "BaseExecutor",
    "DaskExecutor",
    "LocalExecutor",
    "RemoteExecutor",
    "_executor_manager",
]


def __getattr__(name: str) -> Any:
    if not name.startswith("_"):
        for found in _executor_manager.executor_plugins_map.values():
            if found.__name__ == name:
                return found
    message = f"there is no executor class {name!r}; _executor_manager.list_executors() names those there are"
    if not name.startswith("_"):
        broken = [f"{plugin!r}: {why}" for plugin, why in _executor_manager.troubles().items()]
        message += "".join(f"; {one}" for one in broken)
    raise AttributeError(message)
