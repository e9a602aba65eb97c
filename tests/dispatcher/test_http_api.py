"""The door as a stranger would try it: over the socket, without the client."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest
from msgspec.structs import replace
from tests.system.tasks import adding, sleeping

import covalab as ct
from covalab.client import Client
from covalab.client.connection import UnixConnection
from covalab.client.launcher import find
from covalab.core import protocol
from covalab.core.dispatcher_status import DispatcherStatus
from covalab.core.lifecycle import TERMINAL
from covalab.core.model import (
    DispatchChanges,
    DispatchId,
    DispatchRecord,
    DispatchSummary,
    Edge,
    EdgeKind,
    Graph,
    NodeDetail,
    NodeState,
)
from covalab.core.timeline import Timeline
from covalab.sdk.building.submit import prepare

MINE = {protocol.HEADER: protocol.version_header()}


class Door:
    """A connection to the socket, which says what it is told to say."""

    def __init__(self, client: Client) -> None:
        address = find(client.data_dir)
        assert address is not None
        self.connection = UnixConnection(address.socket, address.pid)

    def ask(
        self, method: str, target: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        """Send a request as it stands."""
        self.connection.request(method, target, body, MINE if headers is None else headers)
        answer = self.connection.getresponse()
        return answer.status, answer.headers, answer.read()

    def json(self, target: str) -> Any:
        """Return the JSON answer of a GET that succeeds."""
        status, headers, data = self.ask("GET", target)
        assert (status, headers["Content-Type"]) == (200, "application/json"), data
        return json.loads(data)

    def problem(self, method: str, target: str, body: bytes | None = None, **how: Any) -> tuple[int, str, str]:
        """Return status, kind and message of a request that is refused."""
        status, headers, data = self.ask(method, target, body, **how)
        assert protocol.HEADER in headers
        found = json.loads(data)
        return status, found["kind"], found["message"]


@pytest.fixture
def door(live: Client) -> Iterator[Door]:
    """Return a connection to the session's dispatcher."""
    door = Door(live)
    yield door
    door.connection.close()


@pytest.fixture(scope="module")
def done(data_dir: Path) -> str:
    """Return a dispatch that has ended."""

    @ct.lattice
    def flow(x: int) -> object:
        return [adding(x), adding(adding(x), 10)]

    return ct.dispatch_sync(flow)(1).dispatch_id


@pytest.fixture
def running(live: Client, tmp_path: Path) -> Iterator[str]:
    """Return a dispatch that runs until the test is over."""
    dispatch = ct.dispatch(ct.lattice(sleeping))(600, str(tmp_path / "pid"))
    yield dispatch
    live.cancel(dispatch)


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x80", b"nonsense", msgspec.msgpack.encode({"id": 3}), b"\x91" * 500])
def test_a_body_that_is_no_submission_is_refused(door: Door, body: bytes) -> None:
    """Whatever the bytes, the answer is 400 with a reason, and nothing is recorded."""
    before = door.json("/dispatches?count=1")

    status, kind, message = door.problem("POST", "/dispatches", body)

    assert (status, kind in ("DecodeError", "ValidationError"), bool(message)) == (400, True, True)
    assert door.json("/dispatches?count=1") == before


def test_a_graph_that_cannot_run_is_not_recorded(door: Door, live: Client) -> None:
    """A cycle, or a number that names nothing, is refused before it could wait for ever."""
    submission = prepare(ct.lattice(adding), (1,), {}, live.blobs)
    cycle = Edge(0, 0, "x", EdgeKind.WAIT)
    for graph in (
        replace(submission.graph, edges=[*submission.graph.edges, cycle]),
        replace(submission.graph, functions=[]),
    ):
        body = msgspec.msgpack.encode(replace(submission, graph=graph))
        assert door.problem("POST", "/dispatches", body)[:2] == (400, "GraphError")

    assert door.problem("GET", f"/dispatches/{submission.id}")[0] == 404


@pytest.mark.parametrize(
    "query",
    [
        "/dispatches?count=many",
        "/dispatches?count=1e9",
        "/dispatches?offset=nan",
        "/dispatches?offset=-inf",
        "/dispatches?count=-inf",
        "/dispatches?status=done",
        "/dispatches?status=running,DONE",
        "/dispatches?name=%ff",
        "/events?since=x",
        "/events?since=0&wait=forever",
        "/dispatches/{}/changes?since=-inf",
        "/dispatches/{}/changes?since=x",
        "/dispatches/{}/changes?wait=nan",
        "/dispatches/{}/record?outputs=some",
        "/dispatches/{}/record?outputs=,",
        "/dispatches/{}/record?outputs=1,,2",
        "/dispatches/{}/record?outputs=²",
        "/dispatches/{}/record?outputs=99999999999999999999",
        "/dispatches/{}/record?wait=1&timeout=soon",
    ],
)
def test_a_query_that_means_nothing_is_refused(door: Door, done: str, query: str) -> None:
    """With 400 and the value in the message; never with an error of our own."""
    from urllib.parse import quote

    status, _, message = door.problem("GET", quote(query.format(done), safe="/?&=%,"))

    assert status == 400, message
    assert "covalab logs" not in message


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/nothing", 404),
        ("GET", "/dispatches/", 404),
        ("GET", "/dispatches/{}/nothing", 404),
        ("GET", "/dispatches/{}/nodes/x", 404),
        ("GET", "/dispatches/{}/nodes/-1", 404),
        ("GET", "/dispatches/{}/nodes/999999999", 404),
        ("GET", "/dispatches/unknown", 404),
        ("GET", "/dispatches/unknown/record", 404),
        ("GET", "/dispatches/unknown/record?wait=1", 404),
        ("GET", "/dispatches/unknown/graph", 404),
        ("GET", "/dispatches/unknown/changes?wait=5", 404),
        ("GET", "/dispatches/unknown/nodes/0", 404),
        ("GET", "/dispatches/..%2f..%2fetc", 404),
        ("POST", "/dispatches/unknown/cancel", 404),
        ("DELETE", "/dispatches/unknown", 404),
        ("PUT", "/status", 405),
        ("PUT", "/dispatches", 405),
        ("POST", "/dispatches/{}", 405),
        ("GET", "/stop", 405),
    ],
)
def test_what_there_is_not_is_said_so(door: Door, done: str, method: str, target: str, status: int) -> None:
    """Unknown routes, methods, dispatches and nodes are problems with a message."""
    found, kind, message = door.problem(method, target.format(done))

    assert found == status, message
    assert kind in ("DispatcherError", "MissingLatticeRecordError")
    assert message


@pytest.mark.parametrize("headers", [{}, {protocol.HEADER: ""}, {protocol.HEADER: "9.9.9 protocol 999"}])
def test_a_stranger_is_told_about_versions(door: Door, headers: dict[str, str]) -> None:
    """Whoever does not say our protocol gets nothing but the status, and the way out."""
    for method, target in (
        ("GET", "/dispatches"),
        ("POST", "/dispatches"),
        ("GET", "/events"),
        ("POST", "/environments"),
    ):
        status, kind, message = door.problem(method, target, headers=headers)
        assert (status, kind) == (409, "VersionMismatch")
        assert "covalab stop" in message
    assert door.ask("GET", "/status", headers=headers)[0] == 200


def test_both_encodings_say_the_same(door: Door, done: str) -> None:
    """Every GET answers in msgpack or JSON, as asked, with the same content."""
    for target, kind in (
        ("/status", DispatcherStatus),
        ("/dispatches", list[DispatchSummary]),
        (f"/dispatches/{done}", DispatchSummary),
        (f"/dispatches/{done}/graph", Graph),
        (f"/dispatches/{done}/changes", DispatchChanges),
        (f"/dispatches/{done}/timeline", Timeline),
        (f"/dispatches/{done}/record?outputs=all", DispatchRecord),
    ):
        _, headers, packed = door.ask("GET", target, headers={**MINE, "Accept": protocol.MSGPACK})
        assert headers["Content-Type"] == protocol.MSGPACK
        _, headers, text = door.ask("GET", target)
        assert headers["Content-Type"] == "application/json"
        assert msgspec.json.decode(text, type=kind) == msgspec.msgpack.decode(packed, type=kind)


def test_a_browser_gets_a_value_described_and_not_included(door: Door, done: str) -> None:
    """JSON readers of a node have size, type and text; msgpack readers have the bytes too."""
    _, _, packed = door.ask("GET", f"/dispatches/{done}/nodes/0", headers={**MINE, "Accept": protocol.MSGPACK})
    detail = msgspec.msgpack.decode(packed, type=NodeDetail)
    assert detail.value is not None
    assert detail.value.data is not None
    described = msgspec.json.decode(door.ask("GET", f"/dispatches/{done}/nodes/0")[2], type=NodeDetail)

    assert described.value == replace(detail.value, data=None)
    assert described == replace(detail, value=described.value)


def test_a_running_dispatch_is_not_deleted(door: Door, running: str) -> None:
    """409, with what to do first."""
    status, _, message = door.problem("DELETE", f"/dispatches/{running}")

    assert status == 409
    assert "cancel it first" in message
    assert door.ask("GET", f"/dispatches/{running}")[0] == 200


@pytest.mark.parametrize("body", [b'{"nodes": [99]}', b'{"nodes": [-1]}', b'{"nodes": "all"}', b'{"node": [0]}', b"{"])
def test_cancelling_what_there_is_not_is_refused(door: Door, running: str, body: bytes) -> None:
    """400, and the dispatch goes on."""
    headers = {**MINE, "Content-Type": "application/json"}

    assert door.problem("POST", f"/dispatches/{running}/cancel", body, headers=headers)[0] == 400
    assert door.json(f"/dispatches/{running}")["status"] in ("pending", "running")


def test_cancelling_is_for_what_has_not_ended(door: Door, done: str) -> None:
    """A dispatch that has ended stays as it is, and that is no error."""
    status, _, data = door.ask("POST", f"/dispatches/{done}/cancel")

    assert (status, json.loads(data)["status"]) == (202, "completed")


def test_the_list_is_told_in_pages(door: Door, done: str) -> None:
    """Newest first, without gaps or repeats."""
    for _ in range(3):
        ct.dispatch_sync(ct.lattice(adding))(1)
    whole = [entry["id"] for entry in door.json("/dispatches?count=1000")]
    pages = [
        entry["id"] for offset in range(0, len(whole), 2) for entry in door.json(f"/dispatches?count=2&offset={offset}")
    ]

    assert pages == whole
    assert done in whole
    assert door.json(f"/dispatches?offset={len(whole)}") == []
    assert door.json("/dispatches?count=0") == []
    assert door.json("/dispatches?count=-5") == []
    assert {entry["status"] for entry in door.json("/dispatches?status=completed")} == {"completed"}
    assert [entry["name"] for entry in door.json("/dispatches?name=no-such-lattice")] == []


def test_events_can_be_read_again_from_any_number(door: Door) -> None:
    """Each page says where to go on; an old number gives everything since, one from another life all there is."""
    begin = door.json("/events?since=-1")
    assert begin["dispatches"] == []
    ids = [ct.dispatch_sync(ct.lattice(adding))(n).dispatch_id for n in range(3)]

    page = door.json(f"/events?since={begin['since']}&wait=5")
    told = {entry["id"]: entry["status"] for entry in page["dispatches"]}
    assert {told[one] for one in ids} == {"completed"}
    assert door.json(f"/events?since={page['since']}&wait=0") == {"since": page["since"], "dispatches": []}
    assert set(ids) <= {entry["id"] for entry in door.json(f"/events?since={begin['since']}&wait=0")["dispatches"]}
    assert set(ids) <= {entry["id"] for entry in door.json("/events?since=1e15&wait=5")["dispatches"]}


def follow(live: Client, dispatch: str, seed: int, trouble: list[str]) -> None:
    """Read a dispatch's changes from random versions until it has ended; note whatever was lost or went backwards."""
    choose = random.Random(seed)
    door = Door(live)
    known: dict[int, NodeState] = {}
    since = newest = 0
    order = {"pending": 0, "running": 1, "completed": 2, "failed": 2, "cancelled": 2, "skipped": 2}
    while True:
        target = f"/dispatches/{dispatch}/changes?since={since}&wait={choose.choice([0, 0.05])}"
        changes = msgspec.json.decode(door.ask("GET", target)[2], type=DispatchChanges)
        if changes.summary.version < newest:
            trouble.append(f"version {changes.summary.version} after {newest}")
        newest = max(newest, changes.summary.version)
        for state in changes.nodes:
            before = known.get(state.node)
            if before is not None and order[before.status] == 2 and before != state:
                trouble.append(f"{before} became {state}")
            known[state.node] = state
        if changes.summary.status in TERMINAL:
            break
        # Mostly from where we are, sometimes from long ago; never from ahead of what is known.
        since = newest if choose.random() < 0.7 else choose.randrange(newest + 1)
    whole = msgspec.json.decode(door.ask("GET", f"/dispatches/{dispatch}/changes?since=0")[2], type=DispatchChanges)
    door.connection.close()
    trouble += [f"lost {state}: {known.get(state.node)}" for state in whole.nodes if known.get(state.node) != state]


def test_changes_can_be_read_again_from_any_number(live: Client) -> None:
    """Five readers follow three hundred nodes, each from where it likes, and all know everything in the end."""

    @ct.lattice
    def wide(n: int) -> object:
        return [adding(x) for x in range(n)]

    seed = random.randrange(10**6)
    print(f"seed {seed}")
    trouble: list[str] = []
    dispatch = ct.dispatch(wide)(300)
    readers = [threading.Thread(target=follow, args=(live, dispatch, seed + n, trouble)) for n in range(5)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join(60)

    assert trouble == []
    assert ct.get_result(dispatch, wait=True).status == ct.status.COMPLETED


def test_who_hangs_up_is_not_waited_for(own: Client) -> None:
    """A reader that is gone keeps no request open and no dispatcher alive."""
    door = Door(own)
    door.connection.request("GET", "/events?since=1e14&wait=3000", None, MINE)
    time.sleep(0.2)
    door.connection.close()
    assert own.events(wait=0).dispatches == []
    address = find(own.data_dir)
    assert address is not None

    own.stop()

    assert find(own.data_dir) is None


def test_an_id_from_outside_is_only_an_id(door: Door, live: Client) -> None:
    """Quotes, wildcards and slashes in an id are looked up as they are."""
    submission = prepare(ct.lattice(adding), (1,), {}, live.blobs)
    odd = f"a'/\"%;--{uuid.uuid4()}"
    live.submit(replace(submission, id=DispatchId(odd)))

    assert live.record(odd, wait=True).summary.id == odd
    live.delete(odd)
    assert door.problem("GET", f"/dispatches/{submission.id}")[0] == 404


def test_a_submission_comes_back_as_it_was_sent(door: Door, live: Client) -> None:
    """In msgpack or JSON; that in msgpack is stored byte for byte."""
    sent = [replace(prepare(ct.lattice(adding), (1,), {}, live.blobs), hold=True, replaced=[0]) for _ in range(2)]
    bodies = [msgspec.msgpack.encode(sent[0]), msgspec.json.encode(sent[1])]
    for body, kind in zip(bodies, (protocol.MSGPACK, "application/json"), strict=True):
        assert door.ask("POST", "/dispatches", body, {**MINE, "Content-Type": kind})[0] == 201
        assert door.ask("POST", "/dispatches", body, {**MINE, "Content-Type": kind})[0] == 200, "it is there"

    assert [live.submission(one.id) for one in sent] == sent
    database = apsw.Connection(str(live.data_dir / "covalab.db"), flags=apsw.SQLITE_OPEN_READONLY)
    (stored,) = database.execute(
        "SELECT submission FROM submissions JOIN dispatches USING (key) WHERE id = ?", (sent[0].id,)
    ).fetchall()[0]
    database.close()
    assert stored == bodies[0]
    for one in sent:
        live.delete(one.id)
