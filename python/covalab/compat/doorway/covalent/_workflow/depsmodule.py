"""`DepsModule`, by Covalent's internal path."""

from covalab.sdk.deps import DepsModule

__all__ = ["DepsModule"]
