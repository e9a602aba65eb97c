"""File transfers before or after an electron (``ct.fs``).

Describing a transfer copies nothing; `cp` of a `FileTransfer` returns the functions that do, and a worker calls them
around the task.
"""

from __future__ import annotations

from covalab.files.file import File, Folder
from covalab.files.transfer import FileTransfer, Order, TransferFromRemote, TransferToRemote

__all__ = ["File", "FileTransfer", "Folder", "Order", "TransferFromRemote", "TransferToRemote"]
