"""`HTTP`, by Covalent's internal path."""

from covalab.files.strategies import HTTP

__all__ = ["HTTP"]
