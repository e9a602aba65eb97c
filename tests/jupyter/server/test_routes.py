"""Authorisation of the routes, and the requests that they refuse. Their answers are tested in test_relay.py."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jupyter_server.auth import Authorizer
from tests.jupyter.server.helpers import Send

VERBS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
PAGES = {
    "summary": {"GET"},
    "tasks": {"GET"},
    "status": {"GET"},
    "cluster": {"POST"},
    "dispatches": {"GET"},
    "list": {"GET"},
    "dispatches/7/again": {"GET"},
    "dispatches/7": {"GET", "DELETE"},
    "dispatches/7/graph": {"GET"},
    "dispatches/7/changes": {"GET"},
    "dispatches/7/timeline": {"GET"},
    "dispatches/7/log": {"GET"},
    "dispatches/7/tags": {"POST"},
    "dispatches/7/provenance": {"GET"},
    "dispatches/7/comparison": {"GET"},
    "dispatches/7/nodes/7": {"GET"},
    "dispatches/7/nodes/7/cell": {"GET"},
    "dispatches/7/nodes/7/outputs": {"GET"},
    "dispatches/7/nodes/7/preview": {"GET"},
    "dispatches/7/bundle": {"GET"},
    "dispatches/7/cancel": {"POST"},
    "dispatches/7/start": {"POST"},
    "dispatches/7/redispatch": {"POST"},
    "dispatches/7/execution": {"GET"},
    "dispatches/7/journal": {"GET", "POST"},
    "notebooks": {"POST"},
    "dispatches/7/notebook": {"GET"},
    "dispatches/7/notebook/executed": {"GET"},
}
KERNELS = {  # for kernels on other hosts, see test_kernel_routes.py
    "environment": {"POST"},
    "blobs/7": {"GET", "POST", "PUT"},
    "status": {"GET"},
    "environments": {"POST"},
    "tasks": {"GET"},
    "summary": {"GET"},
    "events": {"GET"},
    "dispatches": {"GET", "POST", "DELETE"},
    "dispatches/7": {"GET", "DELETE"},
    "dispatches/7/record": {"GET"},
    "dispatches/7/graph": {"GET"},
    "dispatches/7/changes": {"GET"},
    "dispatches/7/timeline": {"GET"},
    "dispatches/7/log": {"GET"},
    "dispatches/7/tags": {"POST"},
    "dispatches/7/nodes/7": {"GET"},
    "dispatches/7/nodes/7/outputs": {"GET"},
    "dispatches/7/nodes/7/preview": {"GET"},
    "dispatches/7/outputs": {"GET"},
    "dispatches/7/cancel": {"POST"},
    "dispatches/7/trust": {"POST"},
    "dispatches/7/submission": {"GET"},
    "dispatches/7/start": {"POST"},
    "dispatches/7/redispatch": {"POST"},
    "dispatches/7/execution": {"GET"},
    "dispatches/7/journal": {"GET", "POST"},
    "dispatches/7/triggers": {"GET", "POST"},
    "dispatches/7/triggers/stop": {"POST"},
    "triggers/7/fire": {"POST"},
}
ROUTES = {f"api/{route}": verbs for route, verbs in PAGES.items()} | {
    f"kernel/{route}": verbs for route, verbs in KERNELS.items()
}


async def codes(send: Send, paths: list[str], headers: dict[str, str]) -> dict[tuple[str, str], int]:
    """Send every verb to every path."""
    bodies = {"journal": '{"action": "pause"}', "notebooks": '{"path": "n.ipynb"}'}
    return {
        (verb, path): (await send(path, verb, headers, bodies.get(path.rpartition("/")[2], ""))).code
        for path in paths
        for verb in VERBS
    }


class Nobody(Authorizer):
    """Allows nothing to anybody."""

    def is_authorized(self, handler: Any, user: Any, action: str, resource: str) -> bool:
        """Refuse, unless it is not about us."""
        return resource != "covalab"


class Readers(Authorizer):
    """Allows reading, and notes what was asked."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.asked: list[tuple[str, str, str]] = []

    def is_authorized(self, handler: Any, user: Any, action: str, resource: str) -> bool:
        """Allow to read."""
        self.asked.append((handler.request.method, action, resource))
        return action == "read"


async def test_the_routes_are_those_of_the_list(route_paths: list[str], jp_base_url: str) -> None:
    """The tables of this file have every route that the server has."""
    assert sorted(route_paths) == sorted(f"{jp_base_url}covalab/{route}" for route in ROUTES)


@pytest.mark.parametrize(
    "server_options",
    [{"allow_unauthenticated_access": True}, {"allow_unauthenticated_access": False}],
    indirect=True,
    ids=["open by default", "closed by default"],
)
async def test_nobody_gets_in_without_credentials(send: Send, route_paths: list[str]) -> None:
    """Every verb of every route answers 401 or 403 to somebody unknown, whatever the server's default is."""
    answers = await codes(send, route_paths, {})
    wrong_token = await codes(send, route_paths, {"Authorization": "token wrong"})

    assert {key: code for key, code in {**answers, **wrong_token}.items() if code not in (401, 403)} == {}


@pytest.mark.parametrize("server_options", [{"authorizer_class": Nobody}], indirect=True, ids=["nobody"])
async def test_the_authorizer_can_refuse_everything(
    send: Send, route_paths: list[str], jp_auth_header: dict[str, str]
) -> None:
    """With an authorizer that refuses, every verb of every route answers 403 to a known user."""
    answers = await codes(send, route_paths, jp_auth_header)

    assert {key: code for key, code in answers.items() if code != 403} == {}


@pytest.mark.parametrize("server_options", [{"authorizer_class": Readers}], indirect=True, ids=["readers"])
async def test_a_reader_may_read_but_not_cancel_or_delete(
    send: Send, route_paths: list[str], jp_auth_header: dict[str, str], jp_serverapp: Any
) -> None:
    """The authorizer is asked about "covalab": read for GET, HEAD and OPTIONS, else write; execute for kernels."""
    answers = await codes(send, route_paths, jp_auth_header)

    writing = {"POST", "PUT", "PATCH", "DELETE"}
    assert {verb for (verb, path), code in answers.items() if code == 403 and "/api/" in path} == writing
    assert {code for (_, path), code in answers.items() if "/kernel/" in path} == {403}
    assert set(jp_serverapp.authorizer.asked) == {
        *((verb, "write" if verb in writing else "read", "covalab") for verb in VERBS),
        *((verb, "execute", "covalab") for verb in VERBS),
    }


async def test_a_verb_that_a_route_lacks_is_refused(
    send: Send, route_paths: list[str], jp_auth_header: dict[str, str], jp_base_url: str
) -> None:
    """Verbs outside the table answer 405; those inside reach the relay, which has no dispatcher here.

    A kernel has to say its version first.
    """
    answers = await codes(send, route_paths, jp_auth_header)

    expected = {
        (verb, f"{jp_base_url}covalab/{route}"): 405 if verb not in verbs else 409 if route[0] == "k" else 503
        for route, verbs in ROUTES.items()
        for verb in VERBS
    }
    assert answers == expected


async def test_without_a_dispatcher_the_answer_says_what_to_do(
    send: Send, jp_auth_header: dict[str, str], jp_base_url: str, data_folder: Any
) -> None:
    """With no dispatcher, the answer is 503, names the error and the way out, and may not be cached."""
    response = await send(f"{jp_base_url}covalab/api/status", headers=jp_auth_header)

    problem = json.loads(response.body)
    assert response.code == 503
    assert problem["kind"] == "DispatcherUnavailable"
    assert str(data_folder) in problem["message"]
    assert "covalab start" in problem["message"]
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    assert "protocol" in response.headers["Covalab-Version"]


@pytest.mark.parametrize(
    "hostile",
    [
        "..",
        "%2e%2e",
        "..%2f..%2fetc%2fpasswd",
        "a%2Fb",
        "a%5Cb",
        "a%00b",
        "a%0d%0aHost:%20evil",
        "a%20b",
        "a%3Fwait=1",
        "a%23b",
        "%25",
        "%ff",
        "%C3%A9",
        "%D0%B0",
        "a;b",
        "a" * 65,
        "a" * 5000,
    ],
)
async def test_a_hostile_id_goes_nowhere(
    hostile: str, send: Send, jp_auth_header: dict[str, str], jp_base_url: str
) -> None:
    """An id that is not one is refused as 400 or 404 in every place where there can be one."""
    api = f"{jp_base_url}covalab/api/dispatches"
    asked = [
        ("GET", f"{api}/{hostile}"),
        ("DELETE", f"{api}/{hostile}"),
        ("GET", f"{api}/{hostile}/graph"),
        ("GET", f"{api}/{hostile}/changes"),
        ("GET", f"{api}/{hostile}/nodes/1"),
        ("POST", f"{api}/{hostile}/cancel"),
        ("GET", f"{api}/{hostile}/execution"),
        ("GET", f"{api}/{hostile}/journal"),
        ("POST", f"{api}/{hostile}/journal"),
        ("GET", f"{api}/7/nodes/{hostile}"),
        ("GET", f"{api}/{hostile}/notebook"),
        ("GET", f"{api}/{hostile}/notebook/executed"),
    ]

    answers = {(method, path): (await send(path, method, jp_auth_header)).code for method, path in asked}

    assert set(answers.values()) <= {400, 404}


@pytest.mark.parametrize(
    "query",
    [
        "dispatches?offset=-1",
        "dispatches?offset=x",
        "dispatches?count=0",
        "dispatches?count=1001",
        "dispatches?status=finished",
        "dispatches?status=running%26count=9",
        "dispatches?name=" + "n" * 201,
        "list?count=0",
        "list?count=201",
        "list?sort=key;--",
        "list?only=everything",
        "list?offset=-1",
        "dispatches/7/comparison?other=../7",
        "dispatches/7/changes?since=-1",
        "dispatches/7/changes?since=1e9999",
        "dispatches/7/changes?wait=61",
        "dispatches/7/changes?wait=nan",
        "dispatches/7/changes?wait=-1",
        "dispatches/7/journal?since=-1",
        "dispatches/7/journal?wait=61",
        "dispatches/7/journal?last=-1",
        "dispatches/7/journal?last=1001",
        "dispatches/7/nodes/-1",
        "dispatches/7/nodes/1.5",
        "dispatches/7/nodes/-1/outputs",
        "dispatches/7/nodes/1/outputs?since=-1",
        "dispatches/7/nodes/1/outputs?since=x",
        f"dispatches/7/nodes/1/outputs?since={2**53 + 1}",
    ],
)
async def test_a_query_out_of_bounds_is_refused(
    query: str, send: Send, jp_auth_header: dict[str, str], jp_base_url: str
) -> None:
    """A number or a word that no route knows is a 400 that says which."""
    response = await send(f"{jp_base_url}covalab/api/{query}", headers=jp_auth_header)

    assert response.code == 400
    assert json.loads(response.body)["kind"] == "BadRequest"


@pytest.mark.parametrize(
    "body", ["[", "[]", "null x", '{"nodes": "all"}', '{"nodes": [-1]}', '{"nodes": [1.5]}', '{"node": [1]}', "%s%d"]
)
async def test_a_cancel_that_is_not_understood_is_refused(
    body: str, send: Send, jp_auth_header: dict[str, str], jp_base_url: str
) -> None:
    """A body of another shape is a 400; in particular it never means the whole dispatch."""
    response = await send(f"{jp_base_url}covalab/api/dispatches/7/cancel", "POST", jp_auth_header, body)

    assert response.code == 400
    assert "JSON" in json.loads(response.body)["message"]


ANSWER = {"action": "answer", "id": "7:0", "request_id": "r", "plain": True}


@pytest.mark.parametrize(
    "body",
    [
        "",
        "[",
        "[]",
        "{}",
        '{"action": "close"}',
        '{"action": "seal"}',
        '{"action": "intervene", "id": "i", "data": {}}',
        '{"action": "pause", "plain": 1}',
        '{"action": "answer"}',
        *(json.dumps({key: value for key, value in ANSWER.items() if key != left_out}) for left_out in ANSWER),
        json.dumps({**ANSWER, "id": "../7"}),
        json.dumps({**ANSWER, "id": "7:0:0"}),
        json.dumps({**ANSWER, "request_id": ""}),
        json.dumps({**ANSWER, "request_id": "r" * 65}),
        json.dumps({**ANSWER, "value": [1, "int", "1", "AA==", None]}),
        json.dumps({**ANSWER, "data": {"actor": "somebody else"}}),
        json.dumps({**ANSWER, "actor": "somebody else"}),
        json.dumps({**ANSWER, "plain": 10**40}),
        '{"action": "answer", "id": "7:0", "request_id": "r", "plain": NaN}',
        '{"action": "answer", "id": "7:0", "request_id": "r", "plain": ' + "[" * 100_000 + "]" * 100_000 + "}",
        "%s%d",
    ],
)
async def test_a_wish_that_is_not_for_pages_is_refused(
    body: str, send: Send, jp_auth_header: dict[str, str], jp_base_url: str
) -> None:
    """A page may answer, pause and resume; every other body is a 400, and nobody says for whom they answer."""
    response = await send(f"{jp_base_url}covalab/api/dispatches/7/journal", "POST", jp_auth_header, body)

    assert response.code == 400
    assert "JSON" in json.loads(response.body)["message"]


@pytest.mark.parametrize("route", ["cancel", "journal", "redispatch"])
async def test_a_huge_body_is_refused(route: str, send: Send, jp_auth_header: dict[str, str], jp_base_url: str) -> None:
    """More than a megabyte to ask for something is a 413, before it is parsed."""
    path = f"{jp_base_url}covalab/api/dispatches/7/{route}"
    response = await send(path, "POST", jp_auth_header, " " * (1024**2 + 1))

    assert response.code == 413
