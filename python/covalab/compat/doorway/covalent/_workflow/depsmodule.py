"""`DepsModule`, by Covalent's internal path."""

from covalab.sdk.hooks.deps import DepsModule

__all__ = ["DepsModule"]
