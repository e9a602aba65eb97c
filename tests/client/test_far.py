"""Client of a Jupyter server on another host, against a server that answers whatever a test says.

A real server and a real kernel elsewhere are in tests/system/test_far_kernel.py.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from tests.system.proxy import Proxy

from covalab.client import far
from covalab.client.far import FarClient
from covalab.client.far_connection import server_of
from covalab.core import protocol
from covalab.core.codec import digest_of
from covalab.core.errors import (
    BlobDamaged,
    ConfigError,
    DispatcherError,
    DispatcherSilent,
    DispatcherUnavailable,
    TokenRefused,
    VersionMismatch,
)
from covalab.core.far_kernels import StoredPart
from covalab.core.model import Problem

TOKEN = "a-secret-token"
OURS = {protocol.HEADER: protocol.version_header()}

Answer = tuple[int, dict[str, str], bytes]


class Stub:
    """Server that answers requests one after the other; None cuts the connection. The last answer is repeated."""

    def __init__(self) -> None:
        self.answers: list[Answer | Callable[[str, bytes], Answer] | None] = []
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                """Print nothing."""

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                stub.seen.append((self.command, self.path, dict(self.headers)))
                answer = stub.answers.pop(0) if len(stub.answers) > 1 else stub.answers[0]
                if answer is None:
                    self.close_connection = True
                    return
                status, headers, data = answer(self.path, body) if callable(answer) else answer
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(data))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815 - as the library calls them

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/user/ada"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        """Stop it."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def stub() -> Iterator[Stub]:
    """Start a server."""
    stub = Stub()
    yield stub
    stub.stop()


@pytest.fixture
def client(stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FarClient]:
    """Return a client that does not pause for long."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(far, "_PAUSES", (0.0, 0.0, 0.0))
    monkeypatch.setattr(far, "_LONGEST_PAUSE", 0.01)
    client = FarClient(server_of(stub.url, TOKEN))
    yield client
    client.close()


def ok(value: object) -> Answer:
    """Return an answer of ours."""
    return 200, OURS, msgspec.msgpack.encode(value)


@pytest.mark.parametrize(
    ("given", "url", "token"),
    [
        ("https://hub.org/user/ada/", "https://hub.org/user/ada", "x"),
        ("https://hub.org/user/ada/lab/tree/a.ipynb?token=y", "https://hub.org/user/ada", "x"),
        ("https://hub.org/user/lab/tree", "https://hub.org/user/lab", "x"),
        ("http://host:8888", "http://host:8888", "x"),
        ("http://me:secret@host:8888/", "http://host:8888", "x"),
    ],
)
def test_an_address_of_the_browser_is_one_of_the_server(given: str, url: str, token: str) -> None:
    """Pages, queries and names are left out; the token is in no text of it."""
    server = server_of(given, token)

    assert (server.url, server.token) == (url, token)
    assert token not in repr(server).replace(url, "")


def test_the_token_comes_from_the_address_or_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this order: as given, of the address, COVALAB_TOKEN, the hub's, Jupyter's; without any, an error."""
    names = ("COVALAB_TOKEN", "JUPYTERHUB_API_TOKEN", "JUPYTER_TOKEN")
    for name in names:
        monkeypatch.setenv(name, name)
    assert server_of("http://h/?token=t", "given").token == "given"
    assert server_of("http://h/?token=t").token == "t"
    for name in names:
        assert server_of("http://h/").token == name
        monkeypatch.delenv(name)
    with pytest.raises(ConfigError, match="no token for http://h"):
        server_of("http://h/")


@pytest.mark.parametrize(
    ("answer", "error", "text"),
    [
        ((403, {}, b"<html>"), TokenRefused, "does not accept the token"),
        ((401, OURS, b"{}"), TokenRefused, "does not accept the token"),
        ((302, {"Location": "/hub/login?next=x"}, b""), TokenRefused, "does not accept the token"),
        ((302, {"Location": "https://elsewhere.org/?a=b"}, b""), DispatcherUnavailable, "to https://elsewhere.org/;"),
        ((404, {}, b"<html>"), DispatcherUnavailable, "no covalab answers"),
        ((200, {}, b"<html>"), DispatcherUnavailable, "no covalab answers"),
        ((413, {}, b"<html>"), DispatcherUnavailable, "refuses requests of this size"),
        ((200, {protocol.HEADER: "0.0.1 protocol 1"}, b""), VersionMismatch, "0.0.1"),
        ((424, {}, b"{}"), DispatcherUnavailable, "does not answer"),
        ((502, {}, b"<html>"), DispatcherUnavailable, "502 Bad Gateway"),
        ((507, OURS, msgspec.msgpack.encode(Problem("DataFolderError", "full"))), OSError, "full"),
        (None, DispatcherUnavailable, "does not answer"),
    ],
)
def test_whatever_answers_is_named(
    stub: Stub, client: FarClient, answer: Answer | None, error: type[Exception], text: str
) -> None:
    """Each trouble has its own error and sentence; the token is in none, and went nowhere else."""
    stub.answers = [answer]

    with pytest.raises(error, match=text) as raised:
        client.summary("7")

    assert TOKEN not in str(raised.value)
    assert {headers["Authorization"] for _, _, headers in stub.seen} == {f"token {TOKEN}"}
    assert {path for _, path, _ in stub.seen} == {"/user/ada/covalab/kernel/dispatches/7"}


def test_a_request_that_was_cut_is_sent_again(stub: Stub, client: FarClient) -> None:
    """And what was deleted by the first one is not missed by the second."""
    stub.answers = [
        None,
        (502, {}, b""),
        (404, OURS, msgspec.msgpack.encode(Problem("MissingLatticeRecordError", "7"))),
    ]

    client.delete("7")

    assert len(stub.seen) == 3


def test_a_wait_is_held_in_pieces_and_survives_the_server(
    stub: Stub, client: FarClient, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """No request asks to be held for longer than a proxy allows; a notice says that the server is away, and back."""
    monkeypatch.setattr(far, "_HOLD", 0.05)

    def slowly(path: str, body: bytes) -> Answer:
        threading.Event().wait(0.06)
        return ok([])

    stub.answers = [slowly, slowly, *[(502, {}, b"")] * 6, slowly, slowly, ok([])]

    assert client.triggers("7", wait=60) == []
    waits = [float(path.rpartition("=")[2]) for _, path, _ in stub.seen]
    assert max(waits) <= 0.05
    said = capfd.readouterr().err
    assert said.count("; waiting") == 1
    assert said.count("answers again") == 1


def test_a_wait_at_a_connection_that_died_silently_is_asked_again(
    stub: Stub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing comes of it any more, not even its end: a while after its piece it is given up. The system looks too."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(far, "_HOLD", 0.2)
    monkeypatch.setattr(far, "_ANSWER_SECONDS", 0.8)
    asked = threading.Event()

    def into_the_void(path: str, body: bytes) -> Answer:
        asked.set()
        threading.Event().wait(0.2)
        return ok(["never seen"])

    stub.answers = [into_the_void, ok([])]
    where = urlsplit(stub.url)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = Proxy(listener, lambda: socket.create_connection((where.hostname or "", where.port or 0)))
        client = FarClient(server_of(f"http://127.0.0.1:{listener.getsockname()[1]}{where.path}", TOKEN))

        def die() -> None:
            asked.wait(10)
            proxy.let_die()

        dying = threading.Thread(target=die)
        dying.start()

        assert client.triggers("7", wait=0.2) == []
        sock = client._connection_to_server()._http.sock
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 10
        assert proxy.n_connections == 2
        dying.join()
        client.close()
        proxy.close()


def test_a_wait_with_a_deadline_ends(stub: Stub, client: FarClient) -> None:
    """A server that is gone is waited for until then."""
    import time

    stub.answers = [(503, {}, b"")]
    with client.until(time.monotonic() + 0.2), pytest.raises(DispatcherSilent):
        client.changes("7", wait=30)


def test_a_value_is_sent_in_parts_from_where_it_was_cut(stub: Stub, client: FarClient) -> None:
    """Across the pieces that it is encoded in; one that arrives changed is sent again, and then given up."""
    data = bytes(range(256)) * 4_000
    arrived = bytearray(data[:1_000])

    def take(path: str, body: bytes) -> Answer:
        arrived.extend(body)
        return ok(StoredPart(len(arrived), len(arrived) >= len(data)))

    stub.answers = [take]
    value = client.blobs.store(data, "bytes")

    assert value.digest == digest_of([data])
    assert bytes(arrived) == data
    assert [method for method, _, _ in stub.seen] == ["POST", "PUT"]

    stub.answers = [ok(StoredPart(0, is_whole=False))]
    with pytest.raises(BlobDamaged, match="arrives changed"):
        client.blobs.store(data, "bytes")


def test_a_fetched_value_is_compared_and_kept(stub: Stub, client: FarClient, tmp_path: Path) -> None:
    """It is fetched once; one that arrives changed is an error and is not kept."""
    data = b"x" * 100_000
    digest = digest_of([data])
    stub.answers = [(200, {**OURS, "Covalab-Size": "100000"}, data)]
    assert bytes(client.blobs.read(digest)) == data
    assert bytes(client.blobs.read(digest)) == data
    assert len(stub.seen) == 1

    other = digest_of([b"y" * 100_000])
    with pytest.raises(BlobDamaged):
        client.blobs.read(other)
    assert other not in client.blobs
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda client: client.stop(), "covalab stop"),
        (lambda client: client.export("an-id", Path("run.covalab")), "covalab export an-id -o run.covalab"),
        (lambda client: client.bring_in(Path("run.covalab")), "run.covalab is imported .* with `covalab import`"),
    ],
    ids=["stop", "export", "import"],
)
def test_what_is_of_the_servers_host_says_so(ask: Callable[[FarClient], object], says: str, client: FarClient) -> None:
    """Nothing is sent; the message names the server and the command for its host."""
    with pytest.raises(DispatcherError, match=says):
        ask(client)
