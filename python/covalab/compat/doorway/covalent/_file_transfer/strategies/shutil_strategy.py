"""`Shutil`, by Covalent's internal path."""

from covalab.files.strategies import Shutil

__all__ = ["Shutil"]
