"""When a file is copied, by Covalent's internal path."""

from covalab.files import Order

__all__ = ["Order"]
