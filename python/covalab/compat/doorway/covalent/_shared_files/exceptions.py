"""Errors, by Covalent's internal path."""

from covalab.core.errors import MissingLatticeRecordError

__all__ = ["MissingLatticeRecordError"]
