"""File transfers, by Covalent's internal path."""

from covalab.files import FileTransfer, TransferFromRemote, TransferToRemote

__all__ = ["FileTransfer", "TransferFromRemote", "TransferToRemote"]
