"""`Folder`, by Covalent's internal path."""

from covalab.files import Folder

__all__ = ["Folder"]
