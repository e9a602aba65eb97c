"""`connect`: use a Jupyter server on another host, its dispatcher and its workers, from this process."""

from __future__ import annotations

import os
from types import TracebackType

from covalab.client.connecting import URL_NAME, client_of, use_server
from covalab.client.far_connection import Server, server_of
from covalab.core.errors import ConfigError
from covalab.core.model import Environment
from covalab.sdk.environment import environment


class Connection:
    """Connection of this process to a Jupyter server; in a ``with`` block, until its end.

    Attributes
    ----------
    url : str
        The server's address.
    python : str
        The version of the Python that runs the tasks there.
    """

    def __init__(self, server: Server, before: Server | None, tasks: Environment) -> None:
        self.url = server.url
        self.python = tasks.versions.get("python", "")
        self._server = server
        self._before = before
        self._prefix = tasks.prefix

    def __repr__(self) -> str:
        return f"<connected to {self.url}: tasks run there in Python {self.python} of {self._prefix}>"

    def close(self) -> None:
        """Use again what was used before."""
        use_server(self._before)
        client_of(self._server).close()

    def __enter__(self) -> Connection:  # noqa: PYI034 - `Self` is not in Python 3.10
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def connect(url: str | None = None, token: str | None = None, *, ca_file: str | None = None) -> Connection:
    """Use a Jupyter server on another host from now on: dispatches run there, results come from there.

    For a kernel or a script that does not share the data folder of the server. The server needs covalab; no dispatcher
    is started here. The tasks run in the environment of this process if that is on the server's host, too, else in that
    of a kernel of the server with the same minor version of Python; a notice says so. Without this call the same is
    chosen by the environment variables ``COVALAB_URL`` and ``COVALAB_TOKEN``.

    Parameters
    ----------
    url : str, optional
        The address of the server, ``https://hub.example.org/user/ada/`` or ``http://host:8888/``, also as it is in the
        browser. ``COVALAB_URL``, if not given.
    token : str, optional
        A token for it: on a hub one of the page Token, or one with the scope ``access:servers``. If not given: that of
        the address (``?token=...``), or ``COVALAB_TOKEN``, ``JUPYTERHUB_API_TOKEN`` or ``JUPYTER_TOKEN``.
    ca_file : str, optional
        A file with the certificate that the server's was signed with, where the system does not know it;
        ``COVALAB_CA_FILE``, if not given.

    Returns
    -------
    Connection
        The connection; its `close` returns to what was used before.

    Raises
    ------
    ConfigError
        If there is no address or no token.
    TokenRefused
        If the server does not accept the token.
    DispatcherUnavailable
        If it does not answer, or has no covalab.
    VersionMismatch
        If it has another version of covalab, or no Python of this minor version.

    Examples
    --------
    >>> import covalab as ct
    >>> ct.connect("https://hub.example.org/user/ada/", "the token")  # doctest: +SKIP
    <connected to https://hub.example.org/user/ada: tasks run there in Python 3.11.9 of /opt/venv>
    """
    address = url or os.environ.get(URL_NAME)
    if not address:
        message = "connect to which Jupyter server? Give its address, ct.connect(url, token), or set COVALAB_URL"
        raise ConfigError(message)
    server = server_of(address, token, ca_file or os.environ.get("COVALAB_CA_FILE"))
    found = client_of(server).environment_of_tasks(environment())  # before anything is changed: it may refuse
    return Connection(server, use_server(server), found.environment)
