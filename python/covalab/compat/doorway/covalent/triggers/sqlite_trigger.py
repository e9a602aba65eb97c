"""`SQLiteTrigger`, by Covalent's path."""

from covalab.triggers import SQLiteTrigger

__all__ = ["SQLiteTrigger"]
