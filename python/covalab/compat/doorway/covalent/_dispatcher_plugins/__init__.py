"""The dispatcher, by Covalent's internal path."""

from covalab.sdk.dispatching.local_dispatcher import LocalDispatcher

__all__ = ["LocalDispatcher"]
