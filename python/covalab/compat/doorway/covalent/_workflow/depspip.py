"""`DepsPip`, by Covalent's internal path."""

from covalab.sdk.hooks.deps import DepsPip

__all__ = ["DepsPip"]
