"""A dispatcher that is stopped, full or slow: whoever waits for it is informed, and goes on when it does."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.system.tasks import adding, sleeping

import covalab as ct
from covalab.client import Client
from covalab.client.launcher import Address, find
from covalab.core import silence
from covalab.core.errors import DispatcherError, DispatcherSilent, DispatcherUnavailable

pytestmark = pytest.mark.sampled(5, of="file")

AT_ONCE = 5.0
"""Seconds within which a caller is informed, with the ticks of these tests a tenth of it."""


@pytest.fixture(autouse=True)
def _short_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silence, "CALLER_TICK_SECONDS", 0.05)


class Stopped:
    """The process of a dispatcher, to be stopped and to go on."""

    def __init__(self, client: Client) -> None:
        self.pid = client.status().pid

    def stop(self) -> None:
        """Stop it."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it go on."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGCONT)


@pytest.fixture
def stopped(own: Client) -> Iterator[Stopped]:
    """Stop the dispatcher; it goes on at the end of the test."""
    process = Stopped(own)
    process.stop()
    yield process
    process.go_on()


def until(what: Callable[[], object], seconds: float = AT_ONCE) -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def in_background(call: Callable[[], Any]) -> Future[Any]:
    """Make a call in a thread of its own."""
    done: Future[Any] = Future()

    def work() -> None:
        try:
            done.set_result(call())
        except BaseException as error:  # noqa: BLE001
            done.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return done


class Errors:
    """What was written to standard error since the test began, over several readings."""

    def __init__(self, capfd: pytest.CaptureFixture[str]) -> None:
        self._capfd = capfd
        self._text = ""

    def lines(self) -> list[str]:
        """Return the lines of covalab."""
        self._text += self._capfd.readouterr().err
        return [line for line in self._text.splitlines() if line.startswith("covalab: ")]


@pytest.fixture
def errors(capfd: pytest.CaptureFixture[str]) -> Errors:
    """Return what is written to standard error."""
    return Errors(capfd)


def submission(client: Client) -> Any:
    """Return what can be submitted."""
    import msgspec

    from covalab.core.model import DispatchId

    recorded = str(ct.dispatch(ct.lattice(adding), disable_run=True)(1))
    return msgspec.structs.replace(client.submission(recorded), id=DispatchId(f"{recorded[:-4]}abcd"), hold=False)


@pytest.mark.parametrize("name", ["status", "list", "submit", "wait", "warm"])
def test_a_request_waits_and_says_so(own: Client, errors: Errors, name: str) -> None:
    """One line with process and time after a moment, one more when it is answered; nothing is lost."""
    from covalab.sdk.environment import environment

    what = submission(own)
    calls: dict[str, Callable[[], Any]] = {
        "status": own.status,
        "list": own.dispatches,
        "submit": lambda: own.submit(what),
        "wait": lambda: own.events(since=own.events().since, wait=1.0),
        "warm": lambda: own.warm(environment()),
    }
    process = Stopped(own)
    process.stop()
    try:
        answer = in_background(calls[name])
        until(errors.lines)
        time.sleep(0.5)
        assert not answer.done()
        first = (
            f"covalab: the dispatcher \\(pid {process.pid}\\) does not answer since \\d\\d:\\d\\d:\\d\\d; nothing is "
        )
        assert re.match(first, errors.lines()[0])
        assert f"`kill -CONT {process.pid}`" in errors.lines()[0]
        assert "`covalab stop`" in errors.lines()[0]
        assert len(errors.lines()) == 1, "once per silence"
    finally:
        process.go_on()
    answer.result(20)
    assert errors.lines()[1:] == [f"covalab: the dispatcher (pid {process.pid}) answers again"]
    if name == "submit":
        assert own.record(what.id, wait=True).summary.status == "completed"


def test_a_wait_for_a_result_is_informed_when_it_stops_in_the_middle(own: Client, errors: Errors) -> None:
    """A request that is held open for minutes, of which nothing is expected; twice, as there were two silences."""
    dispatch = ct.dispatch(ct.lattice(sleeping))(4.0, os.devnull)
    process = Stopped(own)
    waiting = in_background(lambda: ct.get_result(dispatch, wait=True))
    time.sleep(1.0)
    assert errors.lines() == [], "a long wait is no silence"
    for n in (1, 3):
        process.stop()
        until(lambda: len(errors.lines()) == n)  # noqa: B023
        process.go_on()
        until(lambda: len(errors.lines()) == n + 1)  # noqa: B023

    assert waiting.result(30).result == "slept"
    assert len(errors.lines()) == 4


def test_many_threads_are_one_line(own: Client, stopped: Stopped, errors: Errors) -> None:
    """Also more than fit into the queue of its socket."""
    with ThreadPoolExecutor(200) as threads:
        answers = [threads.submit(own.status) for _ in range(200)]
        until(errors.lines)
        time.sleep(0.5)
        stopped.go_on()
        assert {answer.result(30).pid for answer in answers} == {stopped.pid}
    assert len(errors.lines()) == 2


def test_one_that_is_killed_in_its_silence_is_replaced(own: Client, stopped: Stopped, errors: Errors) -> None:
    """As `covalab stop` in a terminal does: who waits starts another and is answered by it."""
    answer = in_background(own.status)
    until(errors.lines)
    os.kill(stopped.pid, signal.SIGKILL)

    assert answer.result(30).pid != stopped.pid


def test_a_large_body_is_sent_to_the_end(own: Client, errors: Errors) -> None:
    """It does not fit into the socket's buffer, so sending waits as well."""
    what = submission(own)
    import msgspec

    large = msgspec.structs.replace(what, source="x" * 5_000_000)
    process = Stopped(own)
    process.stop()
    answer = in_background(lambda: own.submit(large))
    until(errors.lines)
    process.go_on()

    assert answer.result(20).id == what.id
    assert own.submission(what.id).source == large.source


@pytest.mark.parametrize(
    "name", ["get_result", "result", "final", "task", "stream", "async_get_result", "async_final", "async_task"]
)
def test_a_call_with_a_timeout_raises(own: Client, name: str) -> None:
    """At its timeout, with process and time; it is a `TimeoutError`."""
    dispatch = ct.dispatch(ct.lattice(sleeping))(600, os.devnull)
    result = ct.get_result(dispatch)
    task = f"{dispatch}:0"
    calls: dict[str, Callable[[], Any]] = {
        "get_result": lambda: ct.get_result(dispatch, wait=True, timeout=1.0),
        "result": lambda: dispatch.result(timeout=1.0),
        "final": lambda: result.get_final_result(1.0),
        "task": lambda: ct.get_task_result(task, wait=True, timeout=1.0),
        "stream": lambda: list(result.execution.get_runtime_stream(1.0)),
        "async_get_result": lambda: asyncio.run(ct.async_get_result(dispatch, wait=True, timeout=1.0)),
        "async_final": lambda: asyncio.run(result.async_get_final_result(1.0)),
        "async_task": lambda: asyncio.run(ct.async_get_task_result(task, wait=True, timeout=1.0)),
    }
    process = Stopped(own)
    process.stop()
    try:
        began = time.monotonic()
        with pytest.raises(
            DispatcherSilent, match=rf"\(pid {process.pid}\) does not answer since \d\d:\d\d:\d\d"
        ) as raised:
            calls[name]()
        assert 0.9 < time.monotonic() - began < 4
        assert isinstance(raised.value, TimeoutError)
        assert isinstance(raised.value, DispatcherUnavailable)
    finally:
        process.go_on()
    assert own.summary(dispatch).status in ("pending", "running"), "the next call is answered"
    ct.cancel(dispatch)


def test_a_timeout_without_a_silence_is_as_ever(own: Client, errors: Errors) -> None:
    """The dispatcher answers when the time is up."""
    dispatch = ct.dispatch(ct.lattice(sleeping))(600, os.devnull)

    assert ct.get_result(dispatch, wait=True, timeout=1.0).status != ct.status.COMPLETED
    assert ct.get_task_result(f"{dispatch}:0", wait=True, timeout=0.5) is None
    assert errors.lines() == []
    ct.cancel(dispatch)


def test_a_slow_answer_of_one_that_answers_others_is_named(tmp_path: Path, errors: Errors) -> None:
    """Its disk may hang: it answers a probe, and not the request that has to write."""
    from tornado import web
    from tornado.httpserver import HTTPServer
    from tornado.netutil import bind_unix_socket

    from covalab.client.connection import UnixConnection
    from covalab.client.silence import AnswerWait, Liveness

    may_answer = threading.Event()

    class Slow(web.RequestHandler):
        async def get(self) -> None:
            while not may_answer.is_set():
                await asyncio.sleep(0.01)

    class Quick(web.RequestHandler):
        def get(self) -> None:
            self.finish("{}")

    async def serve(over: asyncio.Event) -> None:
        server = HTTPServer(web.Application([("/slow", Slow), ("/status", Quick)]))
        server.add_socket(bind_unix_socket(str(tmp_path / "socket")))
        await over.wait()
        server.stop()
        await server.close_all_connections()

    async def main() -> None:
        over = asyncio.Event()
        serving = asyncio.create_task(serve(over))
        await asyncio.sleep(0.1)
        connection = UnixConnection(str(tmp_path / "socket"), 123)
        for held, expected in ((True, 0), (False, 1)):
            may_answer.clear()
            connection.wait = AnswerWait(Liveness(), connection.path, 123, "GET /slow", is_held=held, deadline=None)
            asking = asyncio.to_thread(connection.exchange, "GET", "/slow", None, "*/*")
            asyncio.get_running_loop().call_later(1.5, may_answer.set)
            assert (await asking)[0] == 200
            assert len(errors.lines()) == expected
        over.set()
        await serving

    asyncio.run(main())
    assert re.match(
        r"covalab: the dispatcher \(pid 123\) answers, but not the request GET /slow of \d\d:", errors.lines()[0]
    )


INTERRUPTED = """
import os, signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that runs this in the background ignores it
from covalab.client import connect
client = connect()
pid = client.status().pid
os.kill(pid, signal.SIGSTOP)
print("waiting", flush=True)
try:
    client.status()
except KeyboardInterrupt:
    print("interrupted", flush=True)
os.kill(pid, signal.SIGCONT)
assert client.status().pid == pid
"""


def test_an_interrupt_ends_a_wait_for_a_silent_one(own: Client, tmp_path: Path) -> None:
    """The notebook's stop button; what comes next is right."""
    pid = own.status().pid
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "waiting\n"
        assert "does not answer since" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=240)[0] == "interrupted\n"
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()
        os.kill(pid, signal.SIGCONT)


def test_stop_ends_one_that_is_stopped(own: Client, stopped: Stopped) -> None:
    """It goes on, and ends as it should: its pools end before it does."""
    assert not own.stop()
    assert find(own.data_dir) is None
    assert own.status().pid != stopped.pid


def test_stop_kills_one_that_does_not_end(own: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was committed is there afterwards; a Jupyter server does not take it for a crash."""
    from covalab.client import paths, stopping

    done = ct.dispatch_sync(ct.lattice(adding))(1).dispatch_id
    pid = own.status().pid
    monkeypatch.setattr(stopping, "_KILL_SECONDS", 1.0)
    os.kill(pid, signal.SIGSTOP)
    monkeypatch.setattr(os, "kill", _kill_only)

    assert own.stop(ask=False)
    assert not paths.address_file(own.data_dir).exists()
    assert own.summary(done).status == "completed"


_real_kill = os.kill


def _kill_only(pid: int, number: int) -> None:
    if number == signal.SIGKILL:
        _real_kill(pid, number)


def test_a_stranger_with_the_same_number_is_left_alone(own: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The data folder may be on a disk of two machines: the process with this number here is another one."""
    from covalab.client import stopping

    monkeypatch.setattr(stopping, "_KILL_SECONDS", 0.2)
    address = find(own.data_dir)
    assert address is not None
    stranger = subprocess.Popen(["sleep", "600"])
    try:
        there = Address(address.socket, stranger.pid, address.epoch, address.version)
        with pytest.raises(DispatcherError, match=rf"pid {stranger.pid}\) does not end: .*another machine"):
            stopping.end_process(own.data_dir, there, has_answered=False)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_full_queue_with_a_deadline(own: Client, stopped: Stopped) -> None:
    """Connecting waits as a request does."""
    address = find(own.data_dir)
    assert address is not None
    filling = []
    with suppress(BlockingIOError):
        while True:
            filling.append(socket.socket(socket.AF_UNIX))
            filling[-1].setblocking(False)
            filling[-1].connect(address.socket)
    try:
        with own.until(time.monotonic() + 0.5), pytest.raises(DispatcherSilent, match=f"pid {stopped.pid}"):
            own.status()
    finally:
        for one in filling:
            one.close()
