"""`Result`, by Covalent's internal path."""

from covalab.sdk.results.result import Result

__all__ = ["Result"]
