"""The extension as Jupyter starts it: it finds or starts the dispatcher, follows it, and survives it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
import yaml
from tests.jupyter.server.helpers import Send, dispatch, sleeping, successor
from traitlets.config import Config

import covalab as ct
from covalab.client import Client
from covalab.client.launcher import find
from covalab.core.model import Counts, DispatchId, DispatchSummary, Status
from covalab.jupyter.server.extension import EVENTS, SCHEMA_FILE, CovalabApp
from covalab.jupyter.server.prewarm import kernel_environment

pytestmark = pytest.mark.sampled(8, of="file")


@pytest.fixture
def warm_up() -> bool:
    """Whether the server starts workers; most tests here want none."""
    return False


@pytest.fixture
def jp_server_config(data_folder: Path, warm_up: bool) -> Config:
    """The extension is on as after an installation."""
    return Config({"ServerApp": {"jpserver_extensions": {"covalab": True}}, "CovalabApp": {"warm_up": warm_up}})


@pytest.fixture
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A data folder of this test's own; whatever dispatcher is there at the end is stopped."""
    folder = tmp_path / "covalab"
    monkeypatch.setenv("COVALAB_DATA_DIR", str(folder))
    yield folder
    if folder.is_dir():
        Client(folder, start=False).stop()


@pytest.fixture
def extension(jp_serverapp: Any) -> CovalabApp:
    """Our extension in the server."""
    app: CovalabApp = jp_serverapp.extension_manager.extension_points["covalab"].app
    return app


@asynccontextmanager
async def running(app: Any) -> AsyncIterator[None]:
    """Do what the server does once its loop runs, and what it does at its end."""
    await app.extension_manager.start_all_extensions()
    try:
        yield
    finally:
        await app.extension_manager.stop_all_extensions()


async def until(condition: Callable[[], object]) -> None:
    """Wait until something is so; if it never is, the test's time limit says so."""
    while not condition():
        await asyncio.sleep(0.02)


async def events(socket: Any, run: str, status: Status) -> list[dict[str, Any]]:
    """Read the event socket until a dispatch has a status; return all of our events up to there."""
    seen: list[dict[str, Any]] = []
    while not any(row["id"] == run and row["status"] == status for event in seen for row in event["dispatches"]):
        event = json.loads(await socket.read_message())
        if event["schema_id"] == EVENTS:
            seen.append(event)
    return seen


@pytest.mark.parametrize("warm_up", [True])
async def test_the_workers_of_the_default_kernel_are_up_before_anybody_asks(
    jp_serverapp: Any, data_folder: Path
) -> None:
    """A server that has just started has a pool under the interpreter of its default kernel, and nothing dispatched."""
    async with running(jp_serverapp):
        await until(lambda: data_folder.is_dir() and find(data_folder) is not None)
        client = Client(data_folder, start=False)
        await until(lambda: [(pool.state, pool.workers > 0) for pool in client.status().pools] == [("up", True)])
        status = client.status()
        assert [pool.python for pool in status.pools] == [sys.executable]
        assert status.active == 0


async def test_a_kernel_that_has_no_covalab_is_left_alone(tmp_path: Path) -> None:
    """There is nothing to warm up in another language's kernel, or under an interpreter that is gone."""
    assert await kernel_environment(["/bin/echo", "-f", "{connection_file}"], {}, str(tmp_path)) is None
    assert await kernel_environment([str(tmp_path / "python")], {}, str(tmp_path)) is None
    assert await kernel_environment([], {}, str(tmp_path)) is None


async def test_the_default_kernels_environment_is_that_of_its_own_interpreter(tmp_path: Path) -> None:
    """`python` in a kernel specification means the server's; its variables count."""
    here = await kernel_environment(["python", "-m", "ipykernel_launcher"], {"PYTHONPATH": "/nowhere"}, str(tmp_path))
    assert here is not None
    assert (here.python, here.prefix, here.cwd) == (sys.executable, sys.prefix, str(tmp_path))
    assert here.shell_env["PYTHONPATH"] == "/nowhere"


def test_the_extension_is_found_by_its_package() -> None:
    """`covalab` in a Jupyter configuration is enough."""
    assert ct._jupyter_server_extension_points() == [{"module": "covalab", "app": CovalabApp}]


def test_the_schema_says_what_a_summary_is() -> None:
    """The event's schema has exactly the fields and statuses of `DispatchSummary`."""
    schema = yaml.safe_load(SCHEMA_FILE.read_text())
    items = schema["properties"]["dispatches"]["items"]

    assert schema["$id"] == EVENTS
    assert list(items["properties"]) == [field.name for field in msgspec.structs.fields(DispatchSummary)]
    assert items["properties"]["status"]["enum"] == list(get_args(Status))


async def test_the_server_starts_the_dispatcher(jp_serverapp: Any, data_folder: Path) -> None:
    """Soon after the server there is a dispatcher; when the server ends, it goes on."""
    assert find(data_folder) is None

    async with running(jp_serverapp):
        await until(lambda: find(data_folder))
        first = find(data_folder)

    assert find(data_folder) == first


async def test_an_event_reaches_the_page(jp_serverapp: Any, jp_ws_fetch: Any, data_folder: Path) -> None:
    """Listeners to the server's events get a dispatch made elsewhere, until its end, with all its fields."""
    async with running(jp_serverapp):
        await until(lambda: find(data_folder))
        socket = await jp_ws_fetch("api", "events", "subscribe")
        run = await asyncio.to_thread(dispatch, successor, 1)

        seen = await events(socket, run, "completed")

        last = next(row for row in seen[-1]["dispatches"] if row["id"] == run)
        assert last == msgspec.to_builtins(Client(data_folder).summary(run))
        versions = [row["version"] for event in seen for row in event["dispatches"] if row["id"] == run]
        assert versions == sorted(versions)
        socket.close()


async def test_many_changes_are_few_events(jp_serverapp: Any, jp_ws_fetch: Any, data_folder: Path) -> None:
    """Events are at least a tenth of a second apart, however much happens."""
    async with running(jp_serverapp):
        await until(lambda: find(data_folder))
        socket = await jp_ws_fetch("api", "events", "subscribe")
        began = time.monotonic()
        runs = [await asyncio.to_thread(dispatch, successor, 1, times=20) for _ in range(20)]

        seen = await events(socket, runs[-1], "completed")

        assert len(seen) <= (time.monotonic() - began) / 0.1 + 1
        socket.close()


async def test_a_killed_dispatcher_is_replaced(jp_serverapp: Any, jp_ws_fetch: Any, data_folder: Path) -> None:
    """`kill -9`: the server starts another, which finishes what was begun, and the page hears of it."""
    async with running(jp_serverapp):
        await until(lambda: find(data_folder))
        socket = await jp_ws_fetch("api", "events", "subscribe")
        run = await asyncio.to_thread(dispatch, sleeping, 2)
        await events(socket, run, "running")
        first = find(data_folder)
        assert first is not None

        os.kill(first.pid, signal.SIGKILL)

        await events(socket, run, "completed")
        second = find(data_folder)
        assert second is not None
        assert second.epoch > first.epoch
        socket.close()


async def test_a_stopped_dispatcher_stays_stopped(
    jp_serverapp: Any, jp_ws_fetch: Any, send: Send, jp_auth_header: dict[str, str], jp_base_url: str, data_folder: Path
) -> None:
    """After `covalab stop` the server answers with that instead of starting another, and follows the next one."""
    async with running(jp_serverapp):
        await until(lambda: find(data_folder))
        await asyncio.to_thread(Client(data_folder, start=False).stop)

        response = await send(f"{jp_base_url}covalab/api/status", headers=jp_auth_header)
        assert response.code == 503
        assert "was stopped" in json.loads(response.body)["message"]
        assert find(data_folder) is None

        socket = await jp_ws_fetch("api", "events", "subscribe")
        run = await asyncio.to_thread(dispatch, successor, 1)
        await events(socket, run, "completed")
        socket.close()


async def test_a_page_restarts_the_workers_with_another_number_of_them(
    jp_serverapp: Any,
    send: Send,
    jp_auth_header: dict[str, str],
    jp_base_url: str,
    data_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The number is written down, and what runs goes on; a number that makes no sense changes nothing."""
    monkeypatch.setenv("COVALAB_CONFIG", str(tmp_path / "covalab.toml"))
    async with running(jp_serverapp):
        await until(lambda: find(data_folder))
        run = await asyncio.to_thread(dispatch, sleeping, 1)
        first = find(data_folder)
        assert first is not None
        for body, code in (('{"workers": 0}', 400), ('{"workers": "all"}', 400), ('{"pool": 1}', 400)):
            assert (await send(f"{jp_base_url}covalab/api/cluster", "POST", jp_auth_header, body)).code == code
        assert not (tmp_path / "covalab.toml").exists()

        response = await send(f"{jp_base_url}covalab/api/cluster", "POST", jp_auth_header, '{"workers": 1}')
        assert response.code == 200
        status = json.loads(response.body)
        assert (status["epoch"] > first.epoch, status["pid"] != first.pid) == (True, True)
        assert "num_workers = 1" in (tmp_path / "covalab.toml").read_text()
        assert (await asyncio.to_thread(ct.get_result, run, wait=True)).status == "COMPLETED"


async def test_unfinished_work_keeps_the_server_up(jp_serverapp: Any, extension: CovalabApp, data_folder: Path) -> None:
    """A dispatch that has not ended counts as activity, so that a server does not shut down for lack of it."""
    async with running(jp_serverapp):
        await until(lambda: extension.current_activity() == 0 and find(data_folder))
        run = await asyncio.to_thread(dispatch, sleeping, 3600)
        await until(lambda: extension.current_activity() == 1)
        await asyncio.to_thread(ct.cancel, run)
        await until(lambda: extension.current_activity() == 0)


async def test_a_broken_dispatcher_is_a_warning(
    jp_serverapp: Any,
    send: Send,
    jp_auth_header: dict[str, str],
    jp_base_url: str,
    data_folder: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With a data folder that cannot be used the server runs, warns once, and says why to whoever asks."""
    data_folder.write_text("not a folder")
    async with running(jp_serverapp):
        url = f"{jp_base_url}covalab/api/dispatches"
        answers = [await send(url, headers=jp_auth_header) for _ in range(3)]
        other = await send(f"{jp_base_url}api/status", headers=jp_auth_header)
        await until(lambda: [record for record in caplog.records if str(data_folder) in record.getMessage()])

    assert {answer.code for answer in answers} == {503}
    assert {json.loads(answer.body)["kind"] for answer in answers} == {"DataFolderError"}
    assert str(data_folder) in json.loads(answers[0].body)["message"]
    assert other.code == 200
    told = [record for record in caplog.records if record.getMessage().startswith("covalab: ")]
    assert len(told) == 1


def test_the_data_folder_can_be_configured(
    jp_configurable_serverapp: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`CovalabApp.data_folder` decides for the server and, through the environment, for its kernels."""
    monkeypatch.setenv("COVALAB_DATA_DIR", "elsewhere")
    folder = tmp_path / "chosen"
    jp_configurable_serverapp(
        config=Config({"ServerApp": {"jpserver_extensions": {"covalab": True}}}),
        argv=[f"--CovalabApp.data_folder={folder}"],
    )

    assert os.environ["COVALAB_DATA_DIR"] == str(folder)


def test_a_summary_can_be_an_event(jp_serverapp: Any) -> None:
    """Events of the extension are valid under its schema, with every optional field empty or filled."""
    summary = DispatchSummary(DispatchId("a"), "n", "pending", 1, 0.0, None, None, Counts())
    filled = msgspec.structs.replace(
        summary, started_at=1.0, ended_at=2.0, root=DispatchId("b"), error="e", status="failed"
    )

    jp_serverapp.event_logger.emit(schema_id=EVENTS, data={"dispatches": msgspec.to_builtins([summary, filled])})
