"""Client: requests to the dispatcher over its private Unix socket. Imports nothing heavy."""

from covalab.client.client import Client, connect
from covalab.client.paths import data_dir

__all__ = ["Client", "connect", "data_dir"]
