"""`TimeTrigger`, by Covalent's path."""

from covalab.triggers import TimeTrigger

__all__ = ["TimeTrigger"]
