"""HTTP servers of Dask, closed: they have neither TLS nor a login, and show every account what runs.

No setting keeps them from listening: the configuration takes out the routes, and the ports are closed after the start.
"""

from __future__ import annotations

from distributed.node import ServerNode


def close_http(node: ServerNode | None) -> None:
    """Close the HTTP port of a scheduler or worker of our own cluster."""
    assert node is not None, "a cluster that runs has a scheduler"
    node.http_server.stop()
