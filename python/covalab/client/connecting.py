"""Choice of the client: of a data folder on this host, or of a Jupyter server on another."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from covalab.client import paths
from covalab.client.client import Client
from covalab.client.far import FarClient
from covalab.client.far_connection import Server, server_of
from covalab.client.launcher import find, start_dispatcher
from covalab.core import errors

URL_NAME: Final = "COVALAB_URL"
"""Environment variable with the address of the Jupyter server that this process is to use."""

_clients: dict[Path, Client] = {}
_far_clients: dict[Server, FarClient] = {}


class _Chosen:
    """Server that this process has chosen by `use_server`."""

    server: Server | None = None


def use_server(server: Server | None) -> Server | None:
    """Let `connect` return the client of a server from now on; None: as the environment says. Return the one before."""
    before, _Chosen.server = _Chosen.server, server
    return before


def far_server() -> Server | None:
    """Return the server on another host that this process uses, or None.

    Raises
    ------
    ConfigError
        If ``COVALAB_URL`` is no address, or there is no token for it.
    """
    if _Chosen.server is not None:
        return _Chosen.server
    url = os.environ.get(URL_NAME)
    return server_of(url, ca_file=os.environ.get("COVALAB_CA_FILE")) if url else None


def client_of(server: Server) -> FarClient:
    """Return the client of a Jupyter server. Sends nothing."""
    found = _far_clients.get(server)
    return found if found is not None else _far_clients.setdefault(server, FarClient(server))


def own_data_dir() -> Path:
    """Return the data folder of this host, for what can only be done beside the dispatcher.

    Raises
    ------
    DispatcherError
        If this process uses a server on another host.
    """
    if (server := far_server()) is not None:
        message = (
            f"this can be done on the host of {server.url} only, in a terminal of that Jupyter server; or unset "
            f"{URL_NAME} to use the data folder of this host"
        )
        raise errors.DispatcherError(message)
    return paths.data_dir()


def connect(*, start: bool = True, data_dir: Path | None = None) -> Client:
    """Return the client of a data folder, with a dispatcher that is running; or of the server that was chosen.

    Parameters
    ----------
    start
        Start a dispatcher when none is running; if false, that is a `DispatcherUnavailable`.
    data_dir
        The data folder; default: that of the server that was chosen (`use_server`, ``COVALAB_URL``), else
        `COVALAB_DATA_DIR`, else `covalab` in the Jupyter data directory.

    Raises
    ------
    DispatcherUnavailable, DataFolderError
        If there is no dispatcher, or the data folder cannot be used.
    """
    if data_dir is None and (server := far_server()) is not None:
        return client_of(server)
    folder = data_dir or paths.data_dir()
    if find(folder) is None:
        if not start:
            message = f"no dispatcher is running for {folder}; `covalab start` starts one"
            raise errors.DispatcherUnavailable(message)
        start_dispatcher(folder)
    return _clients.setdefault(folder, Client(folder))
