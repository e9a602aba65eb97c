"""The base classes of executors, by Covalent's path."""

from covalab.executors.base import (
    AsyncBaseExecutor,
    BaseExecutor,
    TaskCancelledError,
    TaskRuntimeError,
    _AbstractBaseExecutor,
)

__all__ = ["AsyncBaseExecutor", "BaseExecutor", "TaskCancelledError", "TaskRuntimeError", "_AbstractBaseExecutor"]
