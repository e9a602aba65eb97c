"""The only SQL: what is recorded, committed in groups by one writer."""

from covalab.store.store import Store

__all__ = ["Store"]
