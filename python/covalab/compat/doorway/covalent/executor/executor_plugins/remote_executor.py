"""`RemoteExecutor`, by Covalent's path."""

from covalab.executors.remote import RemoteExecutor

__all__ = ["RemoteExecutor"]
