"""`DepsCall`, by Covalent's internal path."""

from covalab.sdk.hooks.deps import DepsCall

__all__ = ["DepsCall"]
