"""A dispatcher that is stopped: the page gets an error that names it, and what it asked for when it goes on."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.jupyter.server.helpers import Send
from tests.system.tasks import adding

import covalab as ct
from covalab.client import Client, connect
from covalab.core import silence

TICK = 0.05


@pytest.fixture
def client(data_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """Return a client of a dispatcher that this test may stop, with a tenth of the usual patience."""
    monkeypatch.setattr(silence, "CALLER_TICK_SECONDS", TICK)
    found = connect(data_dir=data_folder)
    yield found
    found.stop()


@pytest.fixture
def stopped(client: Client) -> Iterator[int]:
    """Stop the dispatcher and return its process; it goes on at the end."""
    pid = client.status().pid
    os.kill(pid, signal.SIGSTOP)
    yield pid
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


@pytest.fixture
def ask(send: Send, jp_auth_header: dict[str, str], jp_base_url: str) -> Any:
    """Send a request as a known user; return its code and the decoded answer."""

    async def ask(route: str, method: str = "GET", body: str = "") -> tuple[int, Any]:
        response = await send(f"{jp_base_url}covalab/api/{route}", method, jp_auth_header, body)
        return response.code, json.loads(response.body)

    return ask


@pytest.mark.parametrize(
    ("route", "method"),
    [
        ("status", "GET"),
        ("dispatches", "GET"),
        ("summary", "GET"),
        ("dispatches/some-id/cancel", "POST"),
        ("dispatches/some-id/changes?wait=60", "GET"),
    ],
)
async def test_a_request_names_the_silent_process(
    ask: Any, client: Client, stopped: int, route: str, method: str
) -> None:
    """Whatever was asked, after a moment, and at once from then on."""
    code, problem = await asyncio.wait_for(ask(route, method), 5)

    assert (code, problem["kind"]) == (503, "DispatcherSilent")
    assert f"the dispatcher (pid {stopped}) does not answer since " in problem["message"]
    assert f"`kill -CONT {stopped}`" in problem["message"]
    began = time.monotonic()
    assert (await ask("status"))[0] == 503
    assert time.monotonic() - began < silence.REPORT_TICKS * TICK


async def test_a_request_that_is_held_open_ends_when_it_stops(ask: Any, client: Client) -> None:
    """A page that waits for changes is informed, and only then: waiting itself is no silence."""
    recorded = str(await asyncio.to_thread(ct.dispatch(ct.lattice(adding), disable_run=True), 1))
    version = client.summary(recorded).version
    held = [asyncio.create_task(ask(f"dispatches/{recorded}/changes?since={version}&wait=60")) for _ in range(5)]
    await asyncio.sleep(2 * silence.REPORT_TICKS * TICK)
    assert not any(one.done() for one in held)
    pid = client.status().pid
    os.kill(pid, signal.SIGSTOP)
    try:
        answers = await asyncio.wait_for(asyncio.gather(*held), 5)
    finally:
        os.kill(pid, signal.SIGCONT)

    assert {code for code, _ in answers} == {503}
    assert all(f"(pid {pid})" in problem["message"] for _, problem in answers)


async def test_it_is_as_before_when_it_goes_on(ask: Any, client: Client, stopped: int) -> None:
    """Without a restart of anything."""
    assert (await ask("status"))[0] == 503
    os.kill(stopped, signal.SIGCONT)
    deadline = time.monotonic() + 5
    while (answer := await ask("status"))[0] != 200:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)

    assert answer[1]["pid"] == stopped


async def test_one_that_is_killed_in_its_silence_is_away(ask: Any, client: Client, stopped: int) -> None:
    """The next request finds that it is gone, and the one that another starts."""
    assert (await ask("status"))[0] == 503
    os.kill(stopped, signal.SIGKILL)
    pid = (await asyncio.to_thread(client.status)).pid
    assert pid != stopped
    deadline = time.monotonic() + 5
    while (answer := await ask("status"))[0] != 200:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)

    assert answer[1]["pid"] == pid


async def test_a_short_stop_is_only_a_pause(ask: Any, client: Client, stopped: int) -> None:
    """Shorter than the limit: the answer comes late."""
    asyncio.get_running_loop().call_later(silence.REPORT_TICKS * TICK / 2, os.kill, stopped, signal.SIGCONT)

    assert (await ask("status"))[0] == 200
