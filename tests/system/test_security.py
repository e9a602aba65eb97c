"""Nobody else on the machine gets in, and the process that decides opens nobody's pickle."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.system.tasks import adding

import covalab as ct
from covalab.client import Client, connect
from covalab.client.launcher import find

pytestmark = pytest.mark.sampled(4, of="file")

NOBODY = 65534


def processes(client: Client) -> list[psutil.Process]:
    """Return the dispatcher and everything it started."""
    dispatcher = psutil.Process(client.status().pid)
    return [dispatcher, *dispatcher.children(recursive=True)]


def listening_addresses(client: Client) -> list[Any]:
    """Return the addresses at which these processes listen."""
    found: list[Any] = []
    for process in processes(client):
        with suppress(psutil.NoSuchProcess):  # a task process ends when it is idle
            connections = process.net_connections(kind="inet")
            found += [connection.laddr for connection in connections if connection.status == psutil.CONN_LISTEN]
    return found


@pytest.fixture
def busy(live: Client) -> Client:
    """Return a client whose pool is up."""
    assert ct.dispatch_sync(ct.lattice(adding))(1).result == 2
    return live


def test_nothing_listens_beyond_loopback(busy: Client) -> None:
    """Every listening port of dispatcher, pool and workers is on 127.0.0.1."""
    listening = listening_addresses(busy)

    assert listening, "the Dask scheduler listens somewhere"
    assert {address.ip for address in listening} == {"127.0.0.1"}


def test_another_user_gets_no_work_done_by_dask(busy: Client) -> None:
    """A process of another account that connects to any of our ports, encrypted or not, is refused."""
    ports = {address.port for address in listening_addresses(busy)}
    program = (
        "import sys, asyncio, os\n"
        "from distributed import Security\n"
        "from distributed.comm import connect\n"
        f"os.setgid({NOBODY}); os.setuid({NOBODY})\n"  # after the imports: this interpreter may be root's alone
        "async def ask(address):\n"
        "    kwargs = Security.temporary().get_connection_args('client') if address.startswith('tls') else {}\n"
        "    comm = await connect(address, timeout=2, **kwargs)\n"
        "    await comm.write({'op': 'identity', 'reply': True})\n"
        "    return await comm.read()\n"
        "async def attempt(address):\n"
        "    try:\n"
        "        print('IN', address, await asyncio.wait_for(ask(address), 4))\n"
        "    except Exception as error:\n"
        "        print('refused', address, type(error).__name__, flush=True)\n"
        "async def main():\n"
        "    addresses = [f'{how}://127.0.0.1:{port}' for how in ('tcp', 'tls') for port in sys.argv[1:]]\n"
        "    await asyncio.gather(*map(attempt, addresses))\n"
        "    os._exit(0)\n"
        "asyncio.run(main())\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, sorted(ports))],
        capture_output=True,
        text=True,
        cwd="/",
        env={"HOME": "/nonexistent", "PATH": os.environ["PATH"], "DASK_TEMPORARY_DIRECTORY": "/tmp"},
        check=False,
        timeout=120,
    )

    assert "IN" not in done.stdout, done.stdout
    assert done.stdout.count("refused") == 2 * len(ports), done.stdout + done.stderr


def test_no_port_says_a_word_to_another_user(busy: Client) -> None:
    """To nobody who asks for a page, says nothing, or sends noise: without a certificate, no byte but TLS's refusal."""
    ports = sorted({address.port for address in listening_addresses(busy)})
    program = (
        "import encodings.idna, os, socket, ssl, sys\n"
        f"os.setgid({NOBODY}); os.setuid({NOBODY})\n"
        "context = ssl.create_default_context(); context.check_hostname = False; context.verify_mode = ssl.CERT_NONE\n"
        "def said(port, sent, tls):\n"
        "    connection = socket.create_connection(('127.0.0.1', port), 5)\n"
        "    connection.settimeout(1.5)\n"
        "    try:\n"
        "        if tls: connection = context.wrap_socket(connection)\n"
        "        connection.sendall(sent)\n"
        "        return connection.recv(10_000)\n"
        "    except OSError:\n"
        "        return b''\n"
        "pages = ['/', '/health', '/metrics', '/info/main/workers.html', '/json/identity.json', '/sitemap.json']\n"
        "asked = [f'GET {page} HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n'.encode() for page in pages]\n"
        "for port in map(int, sys.argv[1:]):\n"
        "    for sent in [*asked, b'x' * 100, b'']:\n"
        "        for tls in (False, True):\n"
        "            answer = said(port, sent, tls)\n"
        "            if answer and not (answer[0] == 21 and len(answer) < 10):\n"  # an alert
        "                print(port, tls, sent[:30], answer[:60])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, ports)],
        capture_output=True, text=True, cwd="/", env={"PATH": os.environ["PATH"]}, check=False, timeout=280,
    )  # fmt: skip

    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_every_file_is_private(busy: Client) -> None:
    """Folders are 0700 and files 0600, sockets and what workers write included."""
    open_to_others = [
        str(path)
        for path in [busy.data_dir, *busy.data_dir.rglob("*")]
        if not path.is_symlink() and path.exists() and stat.S_IMODE(path.stat().st_mode) & 0o077
    ]
    address = find(busy.data_dir)

    assert open_to_others == []
    assert address is not None
    assert stat.S_IMODE(Path(address.socket).parent.stat().st_mode) == 0o700


def test_no_secret_is_in_a_command_line_or_an_environment(busy: Client) -> None:
    """The certificate of the pool exists only in the memory of its processes."""
    for process in processes(busy):
        told = "\n".join([*process.cmdline(), *process.environ().values()])
        assert "PRIVATE KEY" not in told
        assert "BEGIN CERTIFICATE" not in told


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Client, Path]]:
    """Return a client of a dispatcher in which every global that a pickle names is written down."""
    log = tmp_path / "globals"
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(
        "import sys\n"
        "if 'covalab.dispatcher' in ' '.join(sys.orig_argv):\n"
        "    def hook(event, args):\n"
        f"        if event == 'pickle.find_class': open({str(log)!r}, 'a').write(f'{{args}}\\n')\n"
        "    sys.addaudithook(hook)\n"
        f"    open({str(log)!r}, 'a').write('armed\\n')\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(hook))
    monkeypatch.setenv("COVALAB_DATA_DIR", str(tmp_path / "data"))
    client = connect()
    yield client, log
    client.stop()


class Payload:
    """A class that only the caller and the worker should ever resolve."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Payload)

    __hash__ = None  # type: ignore[assignment]


def test_the_dispatcher_resolves_no_pickled_global(watched: tuple[Client, Path]) -> None:
    """Arguments, values, failures and functions pass through it closed."""
    client, log = watched

    @ct.electron
    def hand_over(x: object) -> object:
        return [x, ValueError("as a value")]

    @ct.electron
    def fails(x: object) -> object:
        raise RuntimeError(x)

    @ct.lattice
    def flow(x: object) -> object:
        return hand_over(x), fails(hand_over(x))

    result = ct.dispatch_sync(flow)(Payload())

    assert result.status == ct.status.FAILED
    first = result.get_node_result(0)
    assert first["status"] == "COMPLETED", first["error"]
    assert first["output"].get_deserialized()[0] == Payload()
    client.node(result.dispatch_id, 0)
    client.cancel(result.dispatch_id)
    assert log.read_text().splitlines() == ["armed"]


def test_a_blob_name_from_outside_opens_no_other_file(live: Client) -> None:
    """Only what looks like a digest names a file."""
    from covalab.core.errors import BlobNotFound
    from covalab.core.model import Digest

    for hostile in ("../covalab.db", "..", "", "a" * 63, "A" * 64, "0" * 64 + "/..", "\0" * 64, "/etc/passwd"):
        with pytest.raises(BlobNotFound):
            live.blobs.read(Digest(hostile))
