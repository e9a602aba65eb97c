"""`S3`, by Covalent's internal path."""

from covalab.files.strategies import S3

__all__ = ["S3"]
