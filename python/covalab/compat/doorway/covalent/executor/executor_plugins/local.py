"""`LocalExecutor`, by Covalent's path."""

from covalab.executors.local import LocalExecutor

__all__ = ["LocalExecutor"]
