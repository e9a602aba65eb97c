"""`Rsync`, by Covalent's internal path."""

from covalab.files.strategies import Rsync

__all__ = ["Rsync"]
