"""`DepsPip`, by Covalent's internal path."""

from covalab.sdk.deps import DepsPip

__all__ = ["DepsPip"]
