"""Files, by Covalent's internal path."""

from covalab.files import File, FileTransfer, Folder, Order, TransferFromRemote, TransferToRemote

__all__ = ["File", "FileTransfer", "Folder", "Order", "TransferFromRemote", "TransferToRemote"]
