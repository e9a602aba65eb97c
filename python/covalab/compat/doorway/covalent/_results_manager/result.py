"""`Result`, by Covalent's internal path."""

from covalab.sdk.result import Result

__all__ = ["Result"]
