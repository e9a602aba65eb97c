"""Errors, by Covalent's internal path."""

from covalab.core.errors import MissingLatticeRecordError, TaskCancelledError, TaskRuntimeError

__all__ = ["MissingLatticeRecordError", "TaskCancelledError", "TaskRuntimeError"]
