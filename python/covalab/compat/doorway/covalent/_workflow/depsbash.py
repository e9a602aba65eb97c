"""`DepsBash`, by Covalent's internal path."""

from covalab.sdk.deps import DepsBash

__all__ = ["DepsBash"]
