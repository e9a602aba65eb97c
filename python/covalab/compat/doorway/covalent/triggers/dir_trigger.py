"""`DirTrigger`, by Covalent's path."""

from covalab.triggers import DirTrigger

__all__ = ["DirTrigger"]
