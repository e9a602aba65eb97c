"""Every route of a real dispatcher, asked with all that our OpenAPI page allows and with what it does not."""

from __future__ import annotations

import http.client
import json
import random
import runpy
import socket
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import fuzz
from tests.dispatcher.test_routes import METHODS, written
from tests.system.processes import dispatcher
from tornado import web

import covalab as ct
from covalab.client import Client
from covalab.client.launcher import find
from covalab.core import protocol
from covalab.dispatcher.http_api.routes import ROUTES

ENDS = ("POST /stop", "DELETE /dispatches", "DELETE /dispatches/{id}")
"""Operations that are meant to end or delete something."""
STARTS = ("POST /environments",)
"""Starts whatever program is named."""


@ct.electron
def one(x: int) -> int:
    """Return what it is given."""
    ct.append_state("seen", x)
    return x


small = ct.lattice(one)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    """Have a dispatcher of this test's own."""
    with dispatcher(tmp_path / "data") as client:
        yield client


class Sender:
    """Sends requests on the socket of a dispatcher, as JSON and without the library's client."""

    def __init__(self, client: Client) -> None:
        address = find(client.data_dir)
        assert address is not None
        self.path = address.socket

    def send(self, request: fuzz.Request) -> tuple[int, bytes]:
        """Send a request; return status and body."""
        connection = http.client.HTTPConnection("localhost", timeout=120)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(self.path)
        headers = {protocol.HEADER: protocol.version_header(), "Content-Type": "application/json"}
        try:
            connection.request(request.method, request.target, request.body, headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()


def fuzzed(client: Client, n: int) -> None:
    """Ask for everything; no request is a fault of the dispatcher's, and nothing is lost."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    runs = {number: str(ct.dispatch(small)(number)) for number in range(2)}
    held = str(ct.dispatch(small, disable_run=True)(7))
    for run in runs.values():
        client.record(run, wait=True, timeout=120)
    pid = client.status().pid
    sender, statuses = Sender(client), Counter[tuple[str, int]]()
    for request in fuzz.requests("dispatcher", n, seed, [*runs.values(), held], without=(*ENDS, *STARTS)):
        status, body = sender.send(request)
        statuses[request.label, status] += 1
        assert status < 500, (request, body)
        assert b"Traceback" not in body, request
        if status >= 400:
            assert json.loads(body).keys() >= {"kind", "message"}, (request, body)
    assert client.status().pid == pid
    for number, run in runs.items():
        assert ct.get_result(run).result == number
    assert ct.get_result(ct.start(held), wait=True, timeout=120).result == 7
    operations = {label for label, _ in statuses}
    assert len(operations) > 30
    reached = {label for label, status in statuses if status < 400}
    print(f"{sum(statuses.values())} requests, {len(operations)} operations, {len(reached)} of them answered")
    assert len(reached) > len(operations) / 2, operations - reached


def test_no_request_is_the_dispatchers_fault(client: Client) -> None:
    """A few requests of each kind: answered, or refused with a reason; what is recorded stays, and runs."""
    fuzzed(client, 4)


@pytest.mark.nightly
@pytest.mark.timeout(3600)
def test_hundreds_of_requests_of_each_kind(client: Client) -> None:
    """The same, more often."""
    fuzzed(client, 200)


def test_the_page_has_every_route() -> None:
    """Each method of each path, and is what the structs are now."""
    script = runpy.run_path(str(fuzz.PAGE.with_name("generate_openapi.py")))
    made = json.dumps(script["document"](), indent=1, sort_keys=True) + "\n"
    assert fuzz.PAGE.read_text() == made, "run: uv run python python/docs/generate_openapi.py"
    answered = {
        f"{method} {written(pattern)}"
        for pattern, handler in ROUTES
        for method in METHODS
        if getattr(handler, method.lower()) is not getattr(web.RequestHandler, method.lower())
    }
    paths = json.loads(made)["paths"]
    on_page = {
        f"{method.upper()} {path}"
        for path, its in paths.items()
        for method, it in its.items()
        if "dispatcher" in it["tags"]
    }
    assert on_page == answered
