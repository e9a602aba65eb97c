"""Client: requests to the dispatcher over its private Unix socket, or to a Jupyter server. Imports nothing heavy."""

from covalab.client.client import Client
from covalab.client.connecting import connect
from covalab.client.paths import data_dir

__all__ = ["Client", "connect", "data_dir"]
