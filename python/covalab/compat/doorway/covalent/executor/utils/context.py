"""Which task is running, by Covalent's path."""

from covalab.worker.context import Context, get_context

__all__ = ["Context", "get_context"]
