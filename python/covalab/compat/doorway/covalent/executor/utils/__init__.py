"""What tasks can ask for, by Covalent's path."""

from covalab.worker.context import get_context

__all__ = ["get_context"]
