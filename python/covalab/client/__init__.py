"""How a process reaches the dispatcher: over its private Unix socket. Imports nothing heavy."""

from covalab.client.client import Client, connect
from covalab.client.folders import data_dir

__all__ = ["Client", "connect", "data_dir"]
