"""`BaseTrigger`, by Covalent's path."""

from covalab.triggers import BaseTrigger

__all__ = ["BaseTrigger"]
