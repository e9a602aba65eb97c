"""`DatabaseTrigger`, by Covalent's path."""

from covalab.triggers import DatabaseTrigger

__all__ = ["DatabaseTrigger"]
