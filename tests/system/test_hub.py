"""JupyterHub with its proxy and two users: nobody reaches the other's work, which outlives a server that is culled."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.jupyter.server.test_routes import ROUTES
from tests.labextension.front_end import node
from tests.system.far_host import as_everybody_can, environment_without, run
from tests.waiting import until

from covalab.client.connecting import client_of
from covalab.client.far import FarClient
from covalab.client.far_connection import server_of
from covalab.core.errors import TokenRefused

pytestmark = [
    pytest.mark.sampled(1, of="file"),
    pytest.mark.timeout(900),  # the first test starts a hub, two servers, dispatchers and pools
]

ROOT = Path(__file__).parents[2]
USERS = ("ada", "bob")
IS_ROOT = os.getuid() == 0
PRIVATE = ("COVALAB_", "JUPYTER", "JPY_", "CPU_", "PYTEST")

PROGRAM = """
import sys, time
import covalab as ct
ct.connect({url!r}, {token!r})

@ct.electron
def work(seconds, flag):
    import os, time
    while flag and not os.path.exists(flag):
        time.sleep(0.05)
    time.sleep(seconds)
    return os.getuid(), os.path.expanduser("~"), os.getpid()

dispatch = ct.dispatch(ct.lattice(work))({seconds!r}, {flag!r})
print(dispatch, *(ct.get_result(dispatch, wait=True).result if {wait!r} else ()))
"""


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class Hub:
    """A hub with its proxy, the servers of two users, and a token of each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.token = secrets.token_hex(16)
        self.uids = {name: 61_001 + number if IS_ROOT else 0 for number, name in enumerate(USERS)}
        for name, uid in self.uids.items():
            home = folder / "homes" / name
            home.mkdir()
            home.chmod(0o700)
            if uid:
                os.chown(home, uid, uid)
        port, hub_port, proxy_port = _free_port(), _free_port(), _free_port()
        self.url = f"http://127.0.0.1:{port}"
        proxy = ROOT / "node_modules" / "configurable-http-proxy" / "bin" / "configurable-http-proxy"
        assert proxy.exists(), "the tools of the front end are not installed: run `jlpm install`"
        given = {
            "folder": str(folder),
            "port": port,
            "hub_port": hub_port,
            "proxy_port": proxy_port,
            "proxy": [node(), str(proxy)],
            "token": self.token,
            "uids": self.uids,
        }
        with (folder / "hub.log").open("wb") as log:
            self.process = subprocess.Popen(
                self.command(
                    sys.executable, "-m", "jupyterhub", "--config", str(Path(__file__).with_name("hub_config.py"))
                ),
                env=environment_without(*PRIVATE, HUB_TEST=json.dumps(given)),
                cwd=folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.tokens: dict[str, str] = {}

    def command(self, *command: str, user: str = "") -> list[str]:
        """Return a command that runs where other users of the machine can enter this environment; as one of them."""
        if not IS_ROOT:
            return [*command]
        hold = Path(tempfile.mkdtemp(dir=self.folder))
        script = as_everybody_can(hold, ROOT, sys.prefix, sys.base_prefix)
        uid = self.uids.get(user)
        change = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"] if uid else []
        return ["unshare", "-m", "sh", "-c", f'{script} && exec "$@"', "sh", *change, *command]

    def begin(self) -> None:
        """Wait for the hub, make the users, and start their servers."""
        until(self._is_up)
        for name in USERS:
            self.ask("POST", f"users/{name}")
            self.ask("POST", f"users/{name}/server")
        for name in USERS:
            until(partial(self._is_ready, name))
            made = self.ask("POST", f"users/{name}/tokens", {"scopes": [f"access:servers!user={name}"]})
            self.tokens[name] = str(made["token"])

    def _is_up(self) -> bool:
        assert self.process.poll() is None, (self.folder / "hub.log").read_text()
        with suppress(OSError):  # the proxy listens before it knows the hub, and answers 404
            urllib.request.urlopen(f"{self.url}/hub/api/", timeout=60).close()
            return True
        return False

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """Ask the hub, as a service that may manage servers: one that culls does the same."""
        request = urllib.request.Request(
            f"{self.url}/hub/api/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"token {self.token}"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            log = (self.folder / "hub.log").read_text()
            message = f"{method} {path}: {error.code} {error.read().decode()}\n{log[-8000:]}"
            raise AssertionError(message) from error

    def start(self, name: str) -> None:
        """Start a user's server and wait until it is ready."""
        self.ask("POST", f"users/{name}/server")
        until(lambda: self._is_ready(name))

    def _is_ready(self, name: str) -> bool:
        return bool(self.ask("GET", f"users/{name}")["servers"].get("", {}).get("ready"))

    def cull(self, name: str) -> None:
        """Stop a user's server, as `jupyterhub-idle-culler` does."""
        self.ask("DELETE", f"users/{name}/server")
        until(lambda: not self.ask("GET", f"users/{name}")["servers"])

    def client(self, name: str, whose: str | None = None) -> FarClient:
        """Return a client of a user's server, with the token of somebody."""
        return client_of(server_of(f"{self.url}/user/{name}/", self.tokens[whose or name]))

    def data(self, name: str) -> Path:
        """Return a user's data folder."""
        return self.folder / "homes" / name / ".local" / "share" / "jupyter" / "covalab"

    def run(self, name: str, seconds: float = 0.0, flag: str = "", *, wait: bool = True) -> list[str]:
        """Dispatch at a user's server from another process; return the id, and with `wait` the result."""
        code = PROGRAM.format(
            url=f"{self.url}/user/{name}/", token=self.tokens[name], seconds=seconds, flag=flag, wait=wait
        )
        return run([sys.executable, "-c", code], environment_without(*PRIVATE)).split()

    def stop(self) -> None:
        """End the hub, its servers and their dispatchers."""
        family = []  # of the proxy, too: its `node` may be a program that starts another
        with suppress(psutil.NoSuchProcess):
            family = psutil.Process(self.process.pid).children(recursive=True)
        dispatchers = [pid for name in USERS if (pid := self.dispatcher(name))]
        self.process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(30)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for left in family:
            with suppress(psutil.NoSuchProcess):
                left.kill()
        for pid in dispatchers:
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(pid)
                own = [process, *process.children(recursive=True)]
                process.terminate()
                psutil.wait_procs(own, 20)
                for left in own:
                    with suppress(psutil.NoSuchProcess):
                        left.kill()

    def dispatcher(self, name: str) -> int:
        """Return the process of a user's dispatcher; 0 if there is none."""
        with suppress(OSError):
            return int(json.loads((self.data(name) / "dispatcher.json").read_text())["pid"])
        return 0


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    """Start the hub. Its users may not look into pytest's folder."""
    folder = Path(tempfile.mkdtemp(prefix="covalab-hub-"))
    folder.chmod(0o755)
    (folder / "homes").mkdir(mode=0o755)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        hub = Hub(folder)
        stack.callback(hub.stop)
        hub.begin()
        yield hub


@pytest.fixture(scope="module")
def works(hub: Hub) -> dict[str, list[str]]:
    """Let a task of each user run; return its dispatch, user, home and process."""
    with ThreadPoolExecutor(len(USERS)) as both:
        return dict(zip(USERS, both.map(hub.run, USERS), strict=True))


def test_each_user_has_work_of_his_own(hub: Hub, works: dict[str, list[str]]) -> None:
    """Tasks run as the user, in the user's home and data folder; within the hub's limit for a server."""
    for name in USERS:
        dispatch, uid, home, _ = works[name]
        assert int(uid.strip("(),")) == hub.uids[name]
        assert home.strip("',") == str(hub.folder / "homes" / name)
        client = hub.client(name)
        assert [one.id for one in client.dispatches()] == [dispatch]
        assert client.status().data_dir == str(hub.data(name))
        assert [pool.workers for pool in client.status().pools] == [1]


def test_the_token_of_another_user_opens_no_route(hub: Hub, works: dict[str, list[str]]) -> None:
    """Every verb of every route answers 403, also without a token; the SDK says which server refuses the token."""
    for token in (hub.tokens["bob"], "wrong", ""):
        for route, verbs in ROUTES.items():
            for verb in sorted(verbs):
                request = urllib.request.Request(
                    f"{hub.url}/user/ada/covalab/{route.replace('/7', '/' + works['ada'][0])}",
                    method=verb,
                    data=b"{}" if verb != "GET" else None,
                    headers={"Authorization": f"token {token}"} if token else {},
                )
                with pytest.raises(urllib.error.HTTPError) as refused:
                    urllib.request.urlopen(request, timeout=60)
                assert refused.value.code in (401, 403), (route, verb)
                assert str(hub.folder) not in refused.value.read().decode()
    with pytest.raises(TokenRefused, match=rf"{hub.url}/user/ada does not accept the token"):
        hub.client("ada", "bob").cancel(works["ada"][0])
    assert hub.client("ada").summary(works["ada"][0]).status == "completed"


@pytest.mark.skipif(not IS_ROOT, reason="only root can start servers as several users")
def test_another_user_of_the_machine_gets_nothing(hub: Hub, works: dict[str, list[str]]) -> None:
    """No file, no socket, no signal, no memory: bob's processes reach none of ada's."""
    open_to_others = [
        path
        for path in hub.data("ada").rglob("*")
        if not path.is_symlink() and path.lstat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    ]
    assert open_to_others == []
    sockets = [str(path) for path in hub.data("ada").rglob("*.sock")]
    assert sockets
    pid = hub.dispatcher("ada")
    family = [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    code = (
        "import os, signal, socket, sys\n"
        "def tried(what, do):\n    try:\n        do()\n    except OSError:\n        return\n"
        "    print('reached', what)\n"
        f"for path in {sockets!r}:\n    tried(path, lambda: socket.socket(socket.AF_UNIX).connect(path))\n"
        f"for path in {[str(hub.data('ada')), str(hub.data('ada') / 'covalab.db')]!r}:\n"
        "    tried(path, lambda: os.listdir(path) if path.endswith('covalab') else open(path))\n"
        f"for pid in {family!r}:\n    tried(pid, lambda: os.kill(pid, signal.SIGTERM))\n"
        "    tried(pid, lambda: open(f'/proc/{pid}/environ').read())\n"
        "print('done')"
    )

    assert run(hub.command(sys.executable, "-c", code, user="bob"), environment_without(*PRIVATE)) == "done\n"


def test_work_goes_on_while_the_server_is_culled(hub: Hub, works: dict[str, list[str]]) -> None:
    """What ran meanwhile is there when the server is started again; whoever waits for it gets it."""
    flag = hub.folder / "homes" / "ada" / "flag"
    (dispatch,) = hub.run("ada", flag=str(flag), wait=False)
    client = hub.client("ada")
    until(lambda: client.summary(dispatch).status == "running")
    pid = hub.dispatcher("ada")

    hub.cull("ada")
    assert psutil.pid_exists(pid)
    began = time.monotonic()
    flag.touch()
    until(lambda: _is_completed(hub, dispatch))
    hub.start("ada")

    assert hub.dispatcher("ada") == pid
    assert client.summary(dispatch).status == "completed"
    assert client.record(dispatch, wait=True, timeout=time.monotonic() - began + 60).summary.status == "completed"
    assert {one.id for one in client.dispatches()} == {dispatch, works["ada"][0]}


def _is_completed(hub: Hub, dispatch: str) -> bool:
    """Ask ada's dispatcher, as somebody on the hub's host could."""
    environment = environment_without(*PRIVATE, COVALAB_DATA_DIR=str(hub.data("ada")))
    code = f"import covalab as ct; print(ct.get_result({dispatch!r}).status)"
    return run(hub.command(sys.executable, "-c", code, user="ada"), environment).strip() == "COMPLETED"
