"""`Blob`, by Covalent's internal path."""

from covalab.files.strategies import Blob

__all__ = ["Blob"]
