"""`GCloud`, by Covalent's internal path."""

from covalab.files.strategies import GCloud

__all__ = ["GCloud"]
