"""`DepsCall`, by Covalent's internal path."""

from covalab.sdk.deps import DepsCall

__all__ = ["DepsCall"]
