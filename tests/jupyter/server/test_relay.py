"""Answers of the routes, with a real dispatcher behind a real Jupyter server; and requests that must change nothing."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.jupyter.server.helpers import Send, dispatch, repeated, sleeping, successor
from tests.system.tasks import adding

import covalab as ct
from covalab.client import Client
from covalab.view.bundle import MIME_TYPE
from covalab.view.cell_view import CELL_MIME_TYPE


def as_json(struct: Any) -> Any:
    """Return a struct as a page gets it."""
    return json.loads(msgspec.json.encode(struct))


@pytest.fixture
def data_folder(live: Client) -> Path:
    """The data folder of the dispatcher that the tests share."""
    return live.data_dir


@pytest.fixture
def get(send: Send, jp_auth_header: dict[str, str], jp_base_url: str) -> Any:
    """Read a route as a known user, and return the decoded answer."""

    async def get(route: str, *, code: int = 200) -> Any:
        response = await send(f"{jp_base_url}covalab/api/{route}", headers=jp_auth_header)
        assert response.code == code, response.body
        return json.loads(response.body)

    return get


async def test_reading_gives_what_the_dispatcher_has(get: Any, live: Client) -> None:
    """Every GET answers with the dispatcher's own struct as JSON."""
    run = dispatch(successor, 20)
    assert (await asyncio.to_thread(ct.get_result, run, wait=True)).result == [21]

    assert (await get("status"))["pid"] == live.status().pid
    assert await get(f"dispatches/{run}") == as_json(live.summary(run))
    assert await get(f"dispatches/{run}/graph") == as_json(live.graph(run))
    assert await get(f"dispatches/{run}/changes") == as_json(live.changes(run))
    assert await get(f"dispatches/{run}/timeline") == as_json(live.timeline(run))
    assert run in [row["id"] for row in await get("dispatches?count=1000")]
    assert run in [row["id"] for row in await get("dispatches?status=completed,failed&count=1000")]
    assert run not in [row["id"] for row in await get("dispatches?status=running&count=1000")]


async def test_a_page_gets_how_a_dispatch_came_about_and_what_differs_in_another(get: Any, live: Client) -> None:
    """Code, arguments, packages and machine; inputs and outputs that differ, without any bytes or variables."""
    one, other = dispatch(repeated, "ab", 2), dispatch(repeated, "ab", 3)
    for run in (one, other):
        await asyncio.to_thread(ct.get_result, run, wait=True)

    known = await get(f"dispatches/{one}/provenance")
    assert known == as_json(ct.get_result(one).provenance())
    assert known["packages"]["msgspec"]
    assert "variables" not in known

    found = await get(f"dispatches/{one}/comparison?other={other}")
    assert (found["left"]["id"], found["right"]["id"]) == (one, other)
    assert [both for name, both in found["arguments"].items() if name.startswith("times of ")] == [["2", "3"]]
    (pair,) = found["nodes"]
    assert (pair["left"]["text"], pair["right"]["text"]) == ("abab", "ababab")
    assert pair["left"]["digest"] != pair["right"]["digest"]
    same = await get(f"dispatches/{one}/comparison?other={one}")
    assert (same["arguments"], same["code"], same["versions"]) == ({}, {}, {})
    await get(f"dispatches/{one}/comparison?other=unknown", code=404)
    await get(f"dispatches/{one}/comparison", code=404)


async def test_a_node_comes_without_its_bytes(get: Any, live: Client) -> None:
    """The browser gets a value's type, size and text; nothing that would have to be unpickled."""
    run = dispatch(repeated, "secret", 3)
    await asyncio.to_thread(ct.get_result, run, wait=True)

    value = (await get(f"dispatches/{run}/nodes/0"))["value"]

    assert live.node(run, 0).value.data is not None  # type: ignore[union-attr]
    type_name, text = value[1], value[2]
    assert (type_name, text) == ("str", "secret" * 3)
    assert value[3] is None


async def test_a_cell_is_what_a_notebook_saves(get: Any, live: Client) -> None:
    """A page without a kernel gets the whole output of a cell: our type, HTML and text; final when it has ended."""

    @ct.electron
    def cell() -> None:
        print("seen below the cell")

    run = dispatch(cell)
    await asyncio.to_thread(ct.get_result, run, wait=True)

    bundle = await get(f"dispatches/{run}/nodes/0/cell")

    ours = bundle[CELL_MIME_TYPE]
    assert (ours["id"], ours["node"], ours["name"], ours["state"], ours["is_final"]) == (run, 0, "cell", "done", True)
    assert ours["outputs"] == [{"output_type": "stream", "name": "stdout", "text": "seen below the cell\n"}]
    assert "seen below the cell" in bundle["text/html"]
    assert bundle["text/plain"].startswith("seen below the cell\n[cell: done in ")
    waiting = dispatch(sleeping, 3600)
    assert (await get(f"dispatches/{waiting}/nodes/0/cell"))[CELL_MIME_TYPE]["is_final"] is False
    await asyncio.to_thread(live.cancel, waiting)


async def test_a_dispatch_is_what_a_notebook_saves_at_its_end(get: Any, live: Client) -> None:
    """A page puts it in place of what was saved before: graph, outputs and the time; no widget, no path."""

    @ct.electron
    def printing() -> int:
        print("seen in the export")
        return 1

    run = dispatch(printing)
    await asyncio.to_thread(ct.get_result, run, wait=True)
    bundle = await get(f"dispatches/{run}/bundle")

    assert {*bundle} == {MIME_TYPE, "text/html", "text/plain"}
    assert bundle[MIME_TYPE]["summary"]["status"] == "completed"
    assert "seen in the export" in bundle["text/html"]
    assert "data:image/svg+xml" in bundle["text/html"]
    preview = await get(f"dispatches/{run}/nodes/0/preview?count=5")
    assert preview["text"]["text"] == "1"


async def test_an_unknown_dispatch_is_a_404(send: Send, jp_auth_header: dict[str, str], jp_base_url: str) -> None:
    """An id that looks like one and is none is a 404 with Covalent's name for it, whatever is asked about it."""
    api = f"{jp_base_url}covalab/api/dispatches/no-such-dispatch"
    asked = [
        ("GET", ""),
        ("GET", "/graph"),
        ("GET", "/changes"),
        ("GET", "/nodes/0"),
        ("GET", "/nodes/0/cell"),
        ("GET", "/nodes/0/preview"),
        ("GET", "/bundle"),
        ("GET", "/execution"),
        ("GET", "/journal"),
        ("POST", "/cancel"),
        ("POST", "/journal"),
        ("DELETE", ""),
    ]

    for method, rest in asked:
        response = await send(api + rest, method, jp_auth_header, '{"action": "pause"}' if rest == "/journal" else "")
        problem = json.loads(response.body)
        assert (response.code, problem["kind"]) == (404, "MissingLatticeRecordError")
        assert "no-such-dispatch" in problem["message"]


async def test_changes_are_held_open_until_there_is_one(
    get: Any, send: Send, jp_auth_header: dict[str, str], jp_base_url: str, live: Client
) -> None:
    """A request that waits for changes ends with the change, and many of them keep nobody else waiting."""
    run = dispatch(sleeping, 3600)
    version = 0
    while live.summary(run).counts.running != 1:
        version = (await get(f"dispatches/{run}/changes?since={version}&wait=20"))["summary"]["version"]
    version = live.summary(run).version
    held = [asyncio.create_task(get(f"dispatches/{run}/changes?since={version}&wait=60")) for _ in range(8)]
    assert (await get("status"))["active"] >= 1
    assert not any(one.done() for one in held)

    await send(f"{jp_base_url}covalab/api/dispatches/{run}/cancel", "POST", jp_auth_header)

    for changes in await asyncio.gather(*held):
        assert changes["summary"]["version"] > version


async def test_a_page_that_closes_is_no_error(
    get: Any, jp_auth_header: dict[str, str], jp_base_url: str, jp_http_port: int, live: Client,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    """A tab that is closed while its request is held open leaves no traceback in the server's log."""
    run = dispatch(sleeping, 3600)
    while live.summary(run).counts.running != 1:
        await asyncio.sleep(0.05)
    version = live.summary(run).version
    for _ in range(3):
        _, writer = await asyncio.open_connection("127.0.0.1", jp_http_port)
        target = f"{jp_base_url}covalab/api/dispatches/{run}/changes?since={version}&wait=60"
        token = jp_auth_header["Authorization"]
        writer.write(f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {token}\r\n\r\n".encode())
        await writer.drain()
        await get("status")
        await asyncio.sleep(0.2)
        writer.close()
        await writer.wait_closed()
    live.cancel(run)
    while live.summary(run).status != "cancelled":
        await asyncio.sleep(0.05)
    for _ in range(20):
        await get("status")
        await asyncio.sleep(0.05)

    assert "StreamClosedError" not in caplog.text
    assert "Uncaught exception" not in caplog.text


async def test_cancel_and_delete(send: Send, jp_auth_header: dict[str, str], jp_base_url: str, live: Client) -> None:
    """A running dispatch cannot be deleted (409); cancelled, it can (204); then it is gone (404)."""
    run = dispatch(sleeping, 3600)
    api = f"{jp_base_url}covalab/api/dispatches/{run}"

    early = await send(api, "DELETE", jp_auth_header)
    cancelled = await send(f"{api}/cancel", "POST", jp_auth_header)
    late = await send(api, "DELETE", jp_auth_header)
    gone = await send(api, "GET", jp_auth_header)

    assert early.code == 409
    assert run in json.loads(early.body)["message"]
    assert (cancelled.code, json.loads(cancelled.body)["status"]) == (202, "cancelled")
    assert (late.code, late.body) == (204, b"")
    assert gone.code == 404


async def test_a_dispatch_is_started_and_run_again(
    send: Send, jp_auth_header: dict[str, str], jp_base_url: str, live: Client
) -> None:
    """A page without a kernel starts a dispatch that was recorded only, then the same graph under a new id."""
    run = await asyncio.to_thread(ct.dispatch(ct.lattice(adding), disable_run=True), 1)
    api = f"{jp_base_url}covalab/api/dispatches/{run}"
    started = await send(f"{api}/start", "POST", jp_auth_header)
    await asyncio.to_thread(live.record, run, wait=True)
    again = await send(f"{api}/redispatch", "POST", jp_auth_header, json.dumps({"reuse": True}))
    refused = await send(f"{api}/redispatch", "POST", jp_auth_header, json.dumps({"reuse": "yes"}))
    new = json.loads(again.body)["id"]
    record = await asyncio.to_thread(live.record, new, wait=True)

    assert (started.code, again.code, refused.code) == (202, 201, 400)
    assert new != run
    assert record.summary.status == "completed"
    assert record.nodes[0].attempt == 0


async def test_one_node_can_be_cancelled(
    send: Send, jp_auth_header: dict[str, str], jp_base_url: str, live: Client
) -> None:
    """A body with nodes cancels those and leaves the rest."""
    run = dispatch(sleeping, 3600, times=2)
    api = f"{jp_base_url}covalab/api/dispatches/{run}"

    first = await send(f"{api}/cancel", "POST", jp_auth_header, json.dumps({"nodes": [0]}))
    counts = json.loads(first.body)["counts"]
    await send(f"{api}/cancel", "POST", jp_auth_header)

    assert counts["cancelled"] == 1
    assert counts["pending"] + counts["running"] == 1


async def test_a_page_from_elsewhere_changes_nothing(
    send: Send, jp_base_url: str, jp_http_port: int, jp_serverapp: Any, live: Client
) -> None:
    """With the user's cookie but without the token of our own page, from another origin or for another host: no effect.

    The same request from our own page does delete, so what is refused above is refused for that reason.
    """
    token = jp_serverapp.identity_provider.token
    page = await send(f"{jp_base_url}tree?token={token}")
    login = await send(f"{jp_base_url}login?next={jp_base_url}api/status&token={token}")
    cookies = {
        name: value
        for response in (page, login)
        for line in response.headers.get_list("Set-Cookie")
        for name, _, value in [line.partition(";")[0].partition("=")]
    }
    xsrf = cookies["_xsrf"]
    here = f"127.0.0.1:{jp_http_port}"
    ours = {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items()), "Host": here}
    known = await send(
        f"{jp_base_url}covalab/api/status", headers={**ours, "Referer": f"http://{here}{jp_base_url}lab"}
    )
    assert known.code == 200  # the cookie is one that lets in

    ended = dispatch(successor, 1)
    await asyncio.to_thread(ct.get_result, ended, wait=True)
    running = dispatch(sleeping, 3600)
    hostile = [
        {},
        {"X-XSRFToken": "wrong"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin"},
        {"X-XSRFToken": xsrf, "Origin": "http://evil.example"},
        {"X-XSRFToken": xsrf, "Origin": f"http://{here}.evil.example"},
        {"X-XSRFToken": xsrf, "Origin": "null"},
        {"X-XSRFToken": xsrf, "Host": "evil.example"},
        {"X-XSRFToken": xsrf, "Host": f"127.0.0.1.evil.example:{jp_http_port}"},
    ]
    codes = {}
    for headers in hostile:
        for method, route in (("DELETE", ended), ("POST", f"{running}/cancel"), ("POST", f"{running}/journal")):
            body = '{"action": "pause"}' if route.endswith("journal") else ""
            answer = await send(f"{jp_base_url}covalab/api/dispatches/{route}", method, {**ours, **headers}, body)
            codes[route, str(headers)] = answer.code

    assert set(codes.values()) <= {403, 404}, codes
    assert live.summary(ended).status == "completed"
    assert live.summary(running).status in ("pending", "running")
    assert not live.summary(running).paused

    own = {**ours, "X-XSRFToken": xsrf, "Origin": f"http://{here}"}
    for method, route, code in (("DELETE", ended, 204), ("POST", f"{running}/cancel", 202)):
        assert (await send(f"{jp_base_url}covalab/api/dispatches/{route}", method, own)).code == code
