"""Executions and interrupts over the relay: what a page reads of an execution and which commands it may send."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from jupyter_server.auth import IdentityProvider, User
from tests.jupyter.server.helpers import Send, dispatch, sleeping
from tornado.httpclient import HTTPResponse

import covalab as ct
from covalab.client import Client
from covalab.core.browser_views import BESIDE_SHOWN

SendCommand: TypeAlias = Callable[..., Awaitable[HTTPResponse]]
Get: TypeAlias = Callable[..., Coroutine[Any, Any, Any]]


@ct.electron
def fill(n: int) -> str:
    """Write a large state, a secret and a stream."""
    ct.set_state("many", {f"key {number}": number for number in range(n)})
    ct.set_state("model", {"secret": "hunter2 " * 9_000, "parts": [1, 2]})
    for number in range(5):
        ct.append_state("log", number)
        ct.put_into_stream({"step": number})
    ct.set_final_result(42)
    return "filled"


class Ada(IdentityProvider):
    """Knows everybody who has the token as one person."""

    def generate_anonymous_user(self, handler: Any) -> User:
        """Return her."""
        return User("ada", display_name="Ada L.")


@pytest.fixture
def data_folder(live: Client) -> Path:
    """The data folder of the dispatcher that the tests share."""
    return live.data_dir


@pytest.fixture
def get(send: Send, jp_auth_header: dict[str, str], jp_base_url: str) -> Get:
    """Read a route below a dispatch, and return the decoded answer."""

    async def get(route: str) -> Any:
        response = await send(f"{jp_base_url}covalab/api/dispatches/{route}", headers=jp_auth_header)
        assert response.code == 200, response.body
        return json.loads(response.body)

    return get


@pytest.fixture
def command(send: Send, jp_auth_header: dict[str, str], jp_base_url: str) -> SendCommand:
    """SendCommand something of a dispatch as a page does."""

    async def command(run: str, action: str, **fields: Any) -> HTTPResponse:
        path = f"{jp_base_url}covalab/api/dispatches/{run}/journal"
        return await send(path, "POST", jp_auth_header, json.dumps({"action": action, **fields}))

    return command


async def asked(times: int = 1) -> str:
    """Dispatch something that waits for a person, and return its id when it does."""

    @ct.lattice
    def release() -> Any:
        return [ct.pause_for("approval", {"score": 0.93, "names": ["a", "b"]}) for _ in range(times)]

    run = str(ct.dispatch(release)())
    deadline = time.monotonic() + 60
    while len(await asyncio.to_thread(ct.get_interrupts, run)) < times:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    return run


def problem(response: HTTPResponse) -> dict[str, str]:
    """Return what an error answer says."""
    found: dict[str, str] = json.loads(response.body)
    return found


async def test_a_page_reads_who_is_waited_for_and_answers(get: Get, command: SendCommand) -> None:
    """An interrupt has type, node and payload as text; the answer is a plain value, and ends the dispatch."""
    run = await asked()
    execution = await get(f"{run}/execution")
    (waiting,) = execution["interrupts"]

    answered = await command(run, "answer", id=waiting["id"], request_id="r1", plain={"ok": [True, None, 1.5, "é"]})

    assert (waiting["type"], waiting["text"], waiting["status"]) == (
        "approval",
        "{score: 0.93, names: [a, b]}",
        "waiting",
    )
    assert answered.code == 200
    assert [one["status"] for one in json.loads(answered.body)["interrupts"]] == ["resumed"]
    result = await asyncio.to_thread(ct.get_result, run, wait=True)
    assert result.result == [{"ok": [True, None, 1.5, "é"]}]
    assert [item["kind"] for item in (await get(f"{run}/journal"))["items"]] == ["wait", "answer"]


async def test_an_answer_is_given_once(get: Get, command: SendCommand) -> None:
    """The same request again changes nothing; another answer is a 409 that says who answered what, also at the end."""
    run = await asked(2)
    first, second = (one["id"] for one in (await get(f"{run}/execution"))["interrupts"])

    codes = [(await command(run, "answer", id=first, request_id="r1", plain=True)).code for _ in range(2)]
    differently = await command(run, "answer", id=first, request_id="r1", plain=False)
    by_another = await command(run, "answer", id=first, request_id="r2", plain=True)
    nobody = await command(run, "answer", id=f"{run}:99", request_id="r3", plain=True)
    assert (await command(run, "answer", id=second, request_id="r4", plain="last")).code == 200
    assert (await asyncio.to_thread(ct.get_result, run, wait=True)).result == [True, "last"]
    late = await command(run, "answer", id=second, request_id="r4", plain="last")
    too_late = await command(run, "answer", id=second, request_id="r5", plain="other")

    assert codes == [200, 200]
    for refused in (differently, by_another):
        assert (refused.code, problem(refused)["kind"]) == (409, "AnsweredDifferently")
        assert "answered by" in problem(refused)["message"]
        assert "with True" in problem(refused)["message"]
    assert (nobody.code, problem(nobody)["kind"]) == (404, "NoSuchInterrupt")
    assert (late.code, too_late.code) == (200, 409)


@pytest.mark.parametrize("server_options", [{"identity_provider_class": Ada}], indirect=True, ids=["ada"])
async def test_who_answers_is_who_is_logged_in(get: Get, command: SendCommand) -> None:
    """Jupyter's identity is recorded with the answer."""
    run = await asked()
    (waiting,) = (await get(f"{run}/execution"))["interrupts"]

    await command(run, "answer", id=waiting["id"], request_id="r1", plain=True)

    assert [one["actor"] for one in await asyncio.to_thread(ct.get_interrupts, run, None)] == ["Ada L. (ada)"]


@pytest.mark.parametrize("depth", [50, 200, 900])
async def test_a_deep_answer_is_taken_or_refused_and_nothing_breaks(get: Get, command: SendCommand, depth: int) -> None:
    """Lists in lists are a value or a 400, never an error of the server; the dispatch can be answered afterwards."""
    run = await asked()
    (waiting,) = (await get(f"{run}/execution"))["interrupts"]
    deep: Any = 1
    for _ in range(depth):
        deep = [deep]

    answer = await command(run, "answer", id=waiting["id"], request_id="r1", plain=deep)
    if answer.code == 400:
        assert (await command(run, "answer", id=waiting["id"], request_id="r2", plain=True)).code == 200
    else:
        assert answer.code == 200
    assert (await asyncio.to_thread(ct.get_result, run, wait=True)).status == "COMPLETED"


async def test_a_page_pauses_and_resumes(command: SendCommand, get: Get, live: Client) -> None:
    """The summary says so; of one that has ended it is a 409."""
    run = dispatch(sleeping, 0.2)
    await asyncio.to_thread(ct.get_result, run, wait=True)
    ended = await command(run, "pause")
    run = dispatch(sleeping, 3600, times=3)

    paused = await command(run, "pause")
    seen = (live.summary(run).paused, (await get(f"{run}/execution"))["paused"], (await get(run))["paused"])
    resumed = await command(run, "resume")

    assert (ended.code, problem(ended)["kind"]) == (409, "ExecutionClosed")
    assert (paused.code, json.loads(paused.body)["paused"], seen) == (200, True, (True, True, True))
    assert (resumed.code, live.summary(run).paused) == (200, False)
    ct.cancel(run)


async def test_state_and_stream_come_described_and_cut(
    get: Get, send: Send, jp_auth_header: dict[str, str], jp_base_url: str
) -> None:
    """Types and texts, never bytes; of a large state the parts near the root, and how many are left out."""

    @ct.lattice
    def flow(n: int) -> Any:
        return fill(n)

    run = str(ct.dispatch(flow)(3_000))
    await asyncio.to_thread(ct.get_result, run, wait=True)
    path = f"{jp_base_url}covalab/api/dispatches/{run}"
    body = (await send(f"{path}/execution", headers=jp_auth_header)).body
    stream = (await send(f"{path}/journal", headers=jp_auth_header)).body

    execution, page = json.loads(body), json.loads(stream)
    state = dict(execution["state"]["below"])
    assert list(state) == ["many", "model", "log"]
    assert len(body) < 400_000
    assert (len(state["many"]["below"]), state["many"]["left_out"]) == (BESIDE_SHOWN, 3_000 - BESIDE_SHOWN)
    key, leaf = state["many"]["below"][7]
    assert (key, leaf["value"][1:4], leaf["below"], leaf["left_out"]) == ("key 7", ["int", "7", None], None, 0)
    assert [part["value"][2] for part in state["log"]["more"]] == ["0", "1", "2", "3", "4"]
    assert execution["final"][1:4] == ["int", "42", None]
    assert (execution["lifecycle"], execution["streamed"]) == ("closed", 5)
    assert [item["value"][2] for item in page["items"]] == [str({"step": n}) for n in range(5)]
    assert all(item["value"][3] is None for item in page["items"])
    assert (page["ended"], page["missed"]) == (True, 0)

    last = await get(f"{run}/journal?last=2")
    after = await get(f"{run}/journal?since={last['items'][0]['number']}")
    assert [item["value"][2] for item in last["items"]] == [str({"step": n}) for n in (3, 4)]
    assert after["items"] == last["items"][1:]


async def test_a_stream_is_held_open_until_there_is_something(get: Get, command: SendCommand) -> None:
    """A request that waits ends with the next entry."""
    run = await asked(2)
    first, second = (one["id"] for one in (await get(f"{run}/execution"))["interrupts"])
    since = (await get(f"{run}/journal"))["items"][-1]["number"]
    held = asyncio.create_task(get(f"{run}/journal?since={since}&wait=60"))
    await asyncio.sleep(0.3)
    assert not held.done()

    await command(run, "answer", id=first, request_id="r1", plain=1)

    assert [item["kind"] for item in (await held)["items"]] == ["answer"]
    await command(run, "answer", id=second, request_id="r2", plain=1)
