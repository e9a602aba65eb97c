"""A task finds the variables and the umask of the process that dispatched it, and nobody else sees them."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.system.tasks import adding
from tests.system.test_environments import second_environment

import covalab as ct
from covalab.client import Client, connect
from covalab.core.process_variables import unpack

pytestmark = pytest.mark.sampled(2)

SECRET = "s3cret-7f1c2d9b04"


@ct.electron
def variable(name: str) -> Any:
    """Return a variable as Python, and as a child process, sees it."""
    child = subprocess.run(["printenv", name], check=False, capture_output=True).stdout
    return os.environ.get(name), child


def seen(name: str) -> Any:
    """Dispatch, and return what the task sees."""
    result = ct.dispatch_sync(ct.lattice(lambda: variable(name)))()
    assert result.status == "COMPLETED", result.error
    return result.result


@pytest.mark.parametrize("text", ["plain", "with space", "a=b=c", "", "ümlaut", "\udcff\udcfe", "two\nlines"])
def test_what_the_notebook_sets_arrives(live: Client, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """The pool is up before; the next dispatch sees another value, or none."""
    del live
    monkeypatch.setenv("APP_TEST KEY", text)
    assert seen("APP_TEST KEY") == (text, os.fsencode(text) + b"\n")
    monkeypatch.setenv("APP_TEST KEY", "another")
    assert seen("APP_TEST KEY") == ("another", b"another\n")
    monkeypatch.delenv("APP_TEST KEY")
    assert seen("APP_TEST KEY") == (None, b"")


def test_names_that_are_no_utf8_and_the_time_zone_arrive(live: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what was set by a whole file of them."""
    del live
    monkeypatch.setenv("N\udcffN", "1")
    monkeypatch.setenv("TZ", "XYZ-7")
    settings = dict(line.split("=", 1) for line in "APP_A=1\nAPP_B=x=y".splitlines())
    for name, text in settings.items():
        monkeypatch.setenv(name, text)

    @ct.electron
    def look() -> Any:
        import time

        return os.environ.get("N\udcffN"), time.strftime("%Z"), os.environ.get("APP_A"), os.environ.get("APP_B")

    assert ct.dispatch_sync(ct.lattice(look))().result == ("1", "XYZ", "1", "x=y")


def test_what_a_task_sets_is_not_there_for_another_dispatch(live: Client) -> None:
    """Nor what it deletes."""
    del live

    @ct.electron
    def change(i: int) -> int:
        os.environ["APP_TEST_LEFT"] = "1"
        os.environ.pop("HOME", None)
        return i

    assert ct.dispatch_sync(ct.lattice(lambda: [change(i) for i in range(8)]))().result == list(range(8))
    assert [seen("APP_TEST_LEFT")[0] for _ in range(3)] == [None] * 3
    assert seen("HOME")[0] == os.environ.get("HOME")


@pytest.mark.parametrize("umask", [0o022, 0o002, 0o077, 0])
def test_files_of_tasks_have_the_callers_modes(live: Client, tmp_path: Path, umask: int) -> None:
    """Colleagues read results in shared folders; covalab's own files stay private."""

    @ct.electron
    def write(folder: str) -> str:
        path = Path(folder) / "made" / "inside"
        path.mkdir(parents=True)
        (path / "file").write_text("x" * 200_000)
        subprocess.run(["touch", str(path / "touched")], check=True)
        return "x" * 200_000  # a blob

    before = os.umask(umask)
    try:
        result = ct.dispatch_sync(ct.lattice(write))(str(tmp_path))
    finally:
        os.umask(before)
    assert result.status == "COMPLETED", result.error

    def mode(path: Path) -> int:
        return stat.S_IMODE(path.stat().st_mode)

    inside = tmp_path / "made" / "inside"
    assert (mode(inside.parent), mode(inside)) == (0o777 & ~umask,) * 2
    assert (mode(inside / "file"), mode(inside / "touched")) == (0o666 & ~umask,) * 2
    data = Path(live.status().data_dir)
    assert not [path for path in data.rglob("*") if path.exists() and not path.is_symlink() and mode(path) & 0o077]


def test_what_follows_from_a_dispatch_has_its_variables(live: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sublattice, a repetition, and one with other arguments: they run where and as the first one did."""
    del live

    @ct.electron
    @ct.lattice
    def below(name: str) -> Any:
        return variable(name), os.environ.get(name)

    @ct.lattice
    def flow(name: str) -> Any:
        return below(name)

    monkeypatch.setenv("APP_TEST_KEY", "first")
    first = ct.dispatch(flow)("APP_TEST_KEY")
    result = ct.get_result(first, wait=True)
    assert result.result == [("first", b"first\n"), "first"], result.error
    monkeypatch.setenv("APP_TEST_KEY", "second")
    again = ct.get_result(ct.redispatch(first)(), wait=True).result
    other = ct.get_result(ct.redispatch(first)(name="APP_TEST_KEY"), wait=True).result

    assert again == other == [("first", b"first\n"), "first"]


def test_an_earlier_versions_dispatch_keeps_the_workers_own(live: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no variables, and no umask."""
    monkeypatch.setenv("APP_TEST_KEY", "1")
    first = ct.dispatch(ct.lattice(lambda: variable("APP_TEST_KEY")), disable_run=True)()
    submission = live.submission(first)
    environment = msgspec.structs.replace(submission.environment, umask=-1, sys_path=[])
    old = msgspec.structs.replace(
        submission, id="of-an-earlier-version", hold=False, variables=b"", environment=environment
    )
    live.submit(old)

    assert ct.get_result("of-an-earlier-version", wait=True).result == (None, b"")


def test_under_another_interpreter_its_own_path_stays(
    live: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What selects an interpreter is that of the conda environment; all else, also local modules, is the notebook's."""
    del live
    prefix = second_environment(tmp_path / "second").parents[1]
    (tmp_path / "nb").mkdir()
    (tmp_path / "nb" / "conda_helper.py").write_text("N = 5\n")
    monkeypatch.syspath_prepend(str(tmp_path / "nb"))
    monkeypatch.setenv("APP_TEST_KEY", "1")
    monkeypatch.setenv("PYTHONPATH", "/of/the/kernel")
    monkeypatch.setenv("VIRTUAL_ENV", "/of/the/kernel")

    def look() -> Any:
        import sys

        import conda_helper  # type: ignore[import-not-found]

        names = ("APP_TEST_KEY", "PYTHONPATH", "VIRTUAL_ENV", "CONDA_PREFIX")
        found = [os.environ.get(name) for name in names]
        return sys.prefix, found, os.environ["PATH"].split(":")[0], conda_helper.N, "/of/the/kernel" in sys.path

    there = ct.electron(look, executor=ct.executor.LocalExecutor(conda_env=str(prefix)))
    result = ct.dispatch_sync(ct.lattice(there))()

    assert result.status == "COMPLETED", result.error
    assert result.result == (str(prefix), ["1", None, None, str(prefix)], str(prefix / "bin"), 5, False)


def test_a_secret_is_in_no_answer_log_or_file(own: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in what a browser can ask for, nor in what is shown, written down or left behind."""
    monkeypatch.setenv("APP_TEST_SECRET", SECRET)
    client = connect(data_dir=own.data_dir)
    dispatch = ct.dispatch(ct.lattice(adding))(1)
    assert ct.get_result(dispatch, wait=True).result == 2

    @ct.electron
    def divide(x: int) -> float:
        return 1 / x

    failing = ct.dispatch_sync(ct.lattice(divide))(0)
    submission = client.submission(dispatch)
    assert unpack(submission.variables).variables[b"APP_TEST_SECRET"] == SECRET.encode()

    told = [repr(submission), str(failing), repr(failing.get_all_node_results()), repr(ct.get_result(dispatch))]
    paths = ("", "/record?outputs=all", "/graph", "/changes", "/nodes/0", "/submission", "/execution", "/journal")
    told += [in_browser(client, f"/dispatches/{dispatch}{path}") for path in paths]
    told += [in_browser(client, path) for path in ("/dispatches", "/status", "/tasks", "/summary")]
    assert dispatch in told[4], "these are answers"
    variables = msgspec.json.decode(told[9])["variables"]
    shown = "\n".join(told)

    assert SECRET not in shown
    assert variables == ""
    for file in Path(own.data_dir).rglob("*"):
        if file.is_file():
            assert SECRET.encode() not in file.read_bytes(), file


def in_browser(client: Client, path: str) -> str:
    """Return the answer to a request as the Jupyter server sends it."""
    import asyncio

    from covalab.jupyter.server.relay import Relay

    async def ask() -> bytes:
        relay = Relay(client.data_dir, start=False)
        try:
            return (await relay.ask("GET", path)).body
        finally:
            relay.close()

    return asyncio.run(ask()).decode()
