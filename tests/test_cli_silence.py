"""The command line with a dispatcher that is stopped by a signal: each command says so, and `stop` ends it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import psutil
import pytest
from click.testing import CliRunner, Result
from tests.system.tasks import adding

import covalab as ct
from covalab.cli import main
from covalab.client import Client, stopping
from covalab.client.launcher import find
from covalab.core import silence


@pytest.fixture
def stopped(own: Client, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Stop the dispatcher and return its process; with a tenth of the usual patience."""
    monkeypatch.setattr(silence, "CALLER_TICK_SECONDS", 0.05)
    monkeypatch.setattr(stopping, "ANSWER_SECONDS", 0.5)
    pid = own.status().pid
    os.kill(pid, signal.SIGSTOP)
    yield pid
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def covalab(*args: str) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(main, args)


@pytest.mark.parametrize("command", [("status",), ("start",), ("cluster", "--status"), ("cluster", "--size")])
def test_a_command_about_the_dispatcher_fails_at_once(stopped: int, command: tuple[str, ...]) -> None:
    """The state that was asked for is that it does not answer."""
    began = time.monotonic()
    result = covalab(*command)

    assert result.exit_code == 1
    assert time.monotonic() - began < 3
    assert re.search(rf"the dispatcher \(pid {stopped}\) does not answer since \d\d:\d\d:\d\d;", result.output)
    assert f"`kill -CONT {stopped}`" in result.output


def test_stop_says_what_it_does(own: Client, stopped: int) -> None:
    """It ends the process, with its pools, and nothing is lost."""
    family = psutil.Process(stopped).children(recursive=True)
    result = covalab("stop")

    assert result.exit_code == 0, result.output
    assert f"(pid {stopped}) does not answer since" in result.output
    assert f"dispatcher stopped: process {stopped}" in result.output
    assert find(own.data_dir) is None
    assert psutil.wait_procs(family, timeout=10)[1] == []
    assert covalab("status").exit_code == 1
    assert "no dispatcher is running" in covalab("stop").output


def test_restart_takes_its_place(own: Client, stopped: int) -> None:
    """What is to be done with one that does not answer, in one command."""
    result = covalab("restart")

    assert result.exit_code == 0, result.output
    assert own.status().pid != stopped


@pytest.mark.parametrize("command", [("list",), ("show", "{dispatch}"), ("cancel", "{dispatch}")])
def test_other_commands_wait(own: Client, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]) -> None:
    """They print one line, and do what they were asked for when it goes on."""
    monkeypatch.setattr(silence, "CALLER_TICK_SECONDS", 0.05)
    dispatch = str(ct.dispatch(ct.lattice(adding), disable_run=True)(1))
    pid = own.status().pid
    os.kill(pid, signal.SIGSTOP)
    threading.Timer(1.5, os.kill, (pid, signal.SIGCONT)).start()
    result = covalab(*(part.format(dispatch=dispatch) for part in command))

    assert result.exit_code == 0, result.output
    assert f"covalab: the dispatcher (pid {pid}) does not answer since" in result.output
    assert f"covalab: the dispatcher (pid {pid}) answers again" in result.output


def test_the_time_is_five_seconds(own: Client) -> None:
    """As a user has it, in a process of its own."""
    pid = own.status().pid
    os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        command = [sys.executable, "-c", "from covalab.cli import main; main(['status'])"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
        took = time.monotonic() - began
    finally:
        os.kill(pid, signal.SIGCONT)

    assert done.returncode == 1
    assert f"(pid {pid}) does not answer since" in done.stderr
    assert 4.5 < took < 9
