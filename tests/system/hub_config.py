"""Configuration of the hub in test_hub.py: the real proxy, and a user of the system for each user of the hub.

Read by `jupyterhub --config`; what differs from run to run is in the environment variable HUB_TEST.
"""

# ruff: noqa: F821
# mypy: disable-error-code="name-defined,no-untyped-call"

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from jupyterhub.spawner import SimpleLocalProcessSpawner

given = json.loads(os.environ["HUB_TEST"])
c: Any = get_config()


class OwnUserSpawner(SimpleLocalProcessSpawner):  # type: ignore[misc]
    """Starts each user's server as a user of the system of its own, if the hub may."""

    def make_preexec_fn(self, name: str) -> Callable[[], None]:
        """Return what runs in the new process."""
        uid, home = given["uids"][name], self.home_dir

        def become() -> None:
            if uid:
                os.setgroups([])
                os.setgid(uid)
                os.setuid(uid)
            os.umask(0o022)
            os.chdir(home)

        return become


c.JupyterHub.bind_url = f"http://127.0.0.1:{given['port']}/"
c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{given['hub_port']}"
c.JupyterHub.db_url = f"sqlite:///{given['folder']}/hub.sqlite"
c.JupyterHub.cookie_secret_file = f"{given['folder']}/cookie_secret"
c.ConfigurableHTTPProxy.command = given["proxy"]
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{given['proxy_port']}"
c.ConfigurableHTTPProxy.pid_file = f"{given['folder']}/proxy.pid"
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.services = [{"name": "tests", "api_token": given["token"]}]
c.JupyterHub.load_roles = [
    {
        "name": "tests",
        "services": ["tests"],
        "scopes": ["admin:users", "admin:servers", "tokens"],
    }
]

# What a hub with covalab has; see python/docs/hub.md.
c.JupyterHub.spawner_class = OwnUserSpawner
c.Spawner.cpu_limit = 1  # and so one worker
c.Spawner.args = ["--ServerApp.jpserver_extensions=covalab=True", "--allow-root"]
c.Spawner.environment = {"JUPYTERHUB_SINGLEUSER_APP": "jupyter_server.serverapp.ServerApp"}
c.Spawner.start_timeout = c.Spawner.http_timeout = 120
c.SimpleLocalProcessSpawner.home_dir_template = f"{given['folder']}/homes/{{username}}"
