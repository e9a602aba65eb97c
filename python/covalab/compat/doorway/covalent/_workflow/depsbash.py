"""`DepsBash`, by Covalent's internal path."""

from covalab.sdk.hooks.deps import DepsBash

__all__ = ["DepsBash"]
