"""`File`, by Covalent's internal path."""

from covalab.files import File

__all__ = ["File"]
