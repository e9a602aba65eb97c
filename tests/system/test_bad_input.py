"""Bad input gets a clear error at the right place; nothing else is affected and the dispatcher stays up."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from tests.system.tasks import adding

import covalab as ct
from covalab.client import Client, connect
from covalab.client.paths import socket_folder
from covalab.core.errors import DataFolderError, DispatcherUnavailable, SerializationError

pytestmark = pytest.mark.sampled(12, of="file")


@ct.electron
def identity(x: object) -> object:
    """Return what came."""
    return x


@pytest.fixture(autouse=True)
def stays_up(live: Client) -> Iterator[None]:
    """After each of these the same dispatcher still runs a dispatch."""
    before = live.status().pid
    yield

    @ct.lattice
    def sound() -> object:
        return adding(1, 2)

    assert ct.dispatch_sync(sound)().result == 3
    assert live.status().pid == before


def failed(result: ct.Result, name: str) -> dict[str, object]:
    """Return the record of the failed node of a name."""
    assert result.status == ct.status.FAILED
    return next(node for node in result.get_all_node_results() if node["node_name"] == name)


def test_an_unpicklable_argument_is_refused_before_anything_is_sent(live: Client) -> None:
    """The error names argument, electron and type, and no dispatch is recorded."""

    @ct.lattice
    def flow(x: object) -> object:
        return identity(x)

    before = len(live.dispatches())
    with pytest.raises(SerializationError, match=r"'x' of electron 'identity'.*lock"):
        ct.dispatch(flow)(threading.Lock())
    assert isinstance(SerializationError("x"), TypeError)  # what Covalent raises
    assert len(live.dispatches()) == before


def test_an_unpicklable_result_fails_that_task_alone() -> None:
    """The node says what could not be pickled; its sibling completes."""

    @ct.electron
    def generator() -> object:
        return (i for i in range(3))

    @ct.lattice
    def flow() -> object:
        return generator(), adding(1)

    result = ct.dispatch_sync(flow)()
    node = failed(result, "generator")

    assert "generator cannot be pickled" in str(node["error"]).replace("of type ", "")
    assert [n["status"] for n in result.get_all_node_results() if n["node_name"] == "adding"] == ["COMPLETED"]


def test_a_result_that_pickles_but_does_not_open_fails_its_user() -> None:
    """The consumer fails with a message about its input; the producer is complete."""

    @ct.electron
    def trap() -> object:
        class Trap:
            def __reduce__(self) -> tuple[type, tuple[str]]:
                return (int, ("not a number",))

        return Trap()

    @ct.lattice
    def flow() -> object:
        return identity(trap())

    result = ct.dispatch_sync(flow)()
    node = failed(result, "identity")

    assert "an input of electron 'identity'" in str(node["error"])
    assert "ValueError" in str(node["error"])


def test_an_exception_in_the_lattice_body_reaches_the_caller(live: Client) -> None:
    """It is raised as it is, and no dispatch is recorded."""

    @ct.lattice
    def flow(n: int) -> object:
        return adding(1 // n)

    before = len(live.dispatches())
    with pytest.raises(ZeroDivisionError):
        ct.dispatch(flow)(0)
    assert len(live.dispatches()) == before


@pytest.mark.parametrize("ask", [ct.get_result, ct.cancel, lambda id_: ct.get_result(id_, wait=True)])
def test_an_unknown_dispatch_id_is_said_to_be_unknown(ask: object) -> None:
    """Every verb raises Covalent's error, at once, with the id in it."""
    with pytest.raises(ct.MissingLatticeRecordError, match="no-such-dispatch"):
        ask("no-such-dispatch")  # type: ignore[operator]


def test_wrong_arguments_are_found_when_the_graph_is_built() -> None:
    """Too many, unknown and missing arguments are errors of `ct.dispatch`, as in Covalent."""

    @ct.lattice
    def surplus() -> object:
        return adding(1, 2, 3)  # type: ignore[call-arg]

    @ct.lattice
    def unknown() -> object:
        return adding(1, z=2)  # type: ignore[call-arg]

    @ct.lattice
    def missing() -> object:
        return adding()  # type: ignore[call-arg]

    with pytest.raises(ValueError, match="adding"):
        ct.dispatch(surplus)()
    with pytest.raises(ValueError, match="z"):
        ct.dispatch(unknown)()
    with pytest.raises(TypeError, match="x"):
        ct.dispatch(missing)()


def test_a_module_that_the_worker_lacks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The node's error names the module and the interpreter."""
    # One with a lock in it cannot travel by value; where packages are installed, its file does not travel either.
    (tmp_path / "something-1.0.dist-info").mkdir()
    (tmp_path / "only_here_xyz.py").write_text("import threading\nL = threading.Lock()\ndef f(x):\n    return x\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import only_here_xyz  # type: ignore[import-not-found]

    remote = ct.electron(only_here_xyz.f)
    from covalab.sdk.building.submit import prepare

    client = connect()
    submission = prepare(ct.lattice(remote), (1,), {}, client.blobs)
    (tmp_path / "only_here_xyz.py").unlink()
    client.submit(submission)
    result = ct.get_result(submission.id, wait=True)

    error = str(failed(result, "f")["error"])
    assert "only_here_xyz" in error
    assert sys.executable in error


def test_an_unknown_executor_is_warned_of_and_fails_its_nodes() -> None:
    """Both list the executors there are; the electron beside it runs, also where the lattice names no better one."""

    @ct.electron(executor="slrum")
    def task() -> None:
        """Never run."""

    @ct.electron
    def beside() -> int:
        return 2

    def both() -> object:
        return task(), beside()

    for lattice in (ct.lattice(both), ct.lattice(both, executor="local"), ct.lattice(both, workflow_executor="slrum")):
        with pytest.warns(UserWarning, match=r"slrum.*dask"):
            dispatch = ct.dispatch(lattice)()
        result = ct.get_result(dispatch, wait=True)
        assert result.status == ct.status.FAILED
        error = str(failed(result, "task")["error"])
        assert re.search(r"electron 'task' asks for executor 'slrum': No executor .*dask, local", error)
        assert result.get_node_result(1)["output"].get_deserialized() == 2


def test_a_lattice_without_electrons_returns_its_value() -> None:
    """A constant is a result like any other."""

    @ct.lattice
    def constant(x: int) -> object:
        return {"x": x, "more": [1, (2, 3)]}

    result = ct.dispatch_sync(constant)(7)

    assert result.status == ct.status.COMPLETED
    assert result.result == {"x": 7, "more": [1, [2, 3]]}


def test_a_value_above_the_limit_is_refused_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says how large it is, what the limit is and what to do."""
    monkeypatch.setenv("COVALAB_MAX_VALUE_BYTES", "1000000")

    @ct.lattice
    def flow(x: object) -> object:
        return identity(x)

    with pytest.raises(SerializationError, match=r"'x'.*8,000,\d+ bytes.*1,000,000.*COVALAB_MAX_VALUE_BYTES"):
        ct.dispatch(flow)(np.zeros(1_000_000))


def test_a_value_of_a_gigabyte_passes_by_the_dispatcher(live: Client) -> None:
    """Made by one task and used by the next, it never enters the dispatcher's memory."""

    @ct.electron
    def make(n: int) -> object:
        return np.ones(n, dtype=np.uint8)

    @ct.electron
    def count(a: Any) -> int:
        return int(a.sum(dtype=np.int64))

    @ct.lattice
    def flow(n: int) -> object:
        return count(make(n))

    process = psutil.Process(live.status().pid)
    before = process.memory_info().rss
    result = ct.dispatch_sync(flow)(2**30)

    assert result.result == 2**30
    assert process.memory_info().rss - before < 50 * 2**20
    live.delete(result.dispatch_id)


def test_deleting_a_dispatch_frees_its_values(live: Client) -> None:
    """The blobs that only it used are gone; one that another dispatch uses stays."""

    @ct.electron
    def make(n: int) -> object:
        return np.arange(n)

    flow = ct.lattice(make)
    one, two = ct.dispatch_sync(flow)(50_001), ct.dispatch_sync(flow)(50_001)
    other = ct.dispatch_sync(flow)(50_002)
    shared = live.node(one.dispatch_id, 0).value
    lone = live.node(other.dispatch_id, 0).value
    assert shared is not None
    assert lone is not None
    assert shared.digest is not None
    assert lone.digest is not None
    for value in (shared, lone):  # what was just written may be on its way into another submission, and is kept
        assert value.digest is not None
        os.utime(live.blobs.path(value.digest), (0, 0))
    live.delete(one.dispatch_id)
    live.delete(other.dispatch_id)

    assert (shared.digest in live.blobs, lone.digest in live.blobs) == (True, False)
    assert ct.get_result(two.dispatch_id).result[-1] == 50_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk of 16 MB. Needs root, as the machines that run these tests have."""
    mount = tmp_path / "disk"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m,mode=700", "tmpfs", str(mount)], check=True)
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)


def fill(path: Path) -> None:
    """Write until there is no room."""
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while file.write(bytes(65536)) == 65536:
            pass


def dispatch_often(lattice: ct.Lattice) -> None:
    """Dispatch until the write-ahead log needs a page that is not there."""
    for _ in range(200):
        ct.dispatch(lattice)(2)


def test_a_full_disk_is_named_and_work_resumes_when_there_is_room(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task whose value does not fit fails with `storage`; results already there stay; later ones go on."""
    monkeypatch.setenv("COVALAB_DATA_DIR", str(small_disk / "data"))
    client = connect()
    try:
        flow = ct.lattice(adding)
        kept = ct.dispatch_sync(flow)(1)
        ballast = small_disk / "ballast"
        fill(ballast)

        @ct.lattice
        def heavy(x: object) -> object:
            return identity(x)

        with pytest.raises(DataFolderError, match=r"No space left.*COVALAB_DATA_DIR|disk is full"):
            ct.dispatch(heavy)(np.ones(1_000_000))
        with pytest.raises(DataFolderError, match="disk is full"):
            dispatch_often(flow)
        assert ct.get_result(kept.dispatch_id).result == 2
        ballast.unlink()
        assert ct.dispatch_sync(flow)(41).result == 42
    finally:
        client.stop()


def test_a_read_only_data_folder_is_refused_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is started; the message names the folder and the variable that moves it."""
    folder = tmp_path / "disk"
    folder.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,mode=700", "tmpfs", str(folder)], check=True)
    try:
        monkeypatch.setenv("COVALAB_DATA_DIR", str(folder))
        with pytest.raises(DataFolderError, match=rf"{folder}.*COVALAB_DATA_DIR"):
            connect()
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_data_folder_that_others_may_write_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link and a folder open to others are both refused before anything is written."""
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    for folder, reason in ((open_to_all, "others may write"), (link, "link")):
        monkeypatch.setenv("COVALAB_DATA_DIR", str(folder))
        with pytest.raises(DataFolderError, match=reason):
            connect()
        assert list(folder.iterdir()) == []


def test_an_interpreter_without_covalab_is_named(live: Client, tmp_path: Path) -> None:
    """The dispatch fails and says where to install what."""
    import venv

    from msgspec.structs import replace

    from covalab.sdk.building.submit import prepare

    venv.create(tmp_path / "bare", with_pip=False)
    python = str(tmp_path / "bare" / "bin" / "python")
    submission = prepare(ct.lattice(adding), (1,), {}, live.blobs)
    bare = replace(submission.environment, python=python, prefix=str(tmp_path / "bare"), path=[], shell_env={})
    live.submit(replace(submission, environment=bare))
    result = ct.get_result(submission.id, wait=True)

    error = str(failed(result, "adding")["error"])
    assert f"{python} -m pip install covalab" in error
    assert "Traceback" not in error


def test_a_missing_interpreter_is_named(live: Client) -> None:
    """An environment that was deleted since is an error of the dispatch, not a hang."""
    from msgspec.structs import replace

    from covalab.sdk.building.submit import prepare

    submission = prepare(ct.lattice(adding), (1,), {}, live.blobs)
    gone = replace(submission.environment, python="/nowhere/bin/python", prefix="/nowhere")
    live.submit(replace(submission, environment=gone))
    result = ct.get_result(submission.id, wait=True)

    assert "/nowhere/bin/python" in str(failed(result, "adding")["error"])


def test_without_a_dispatcher_a_call_that_must_not_start_one_says_so(tmp_path: Path) -> None:
    """`start=False` is an error with the command to run."""
    with pytest.raises(DispatcherUnavailable, match="covalab start"):
        connect(start=False, data_dir=tmp_path / "nothing")
    assert not (tmp_path / "nothing").exists()


def test_a_dispatcher_of_another_version_is_an_error_that_names_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message has both versions and the way out, and no traceback of ours."""
    from covalab.core.errors import VersionMismatch

    folder = tmp_path / "data"
    program = (
        "import sys; sys.argv[1:] = ['--data-dir', sys.argv[1]]\n"
        "import covalab.core.protocol as p; p.PROTOCOL = 99\n"
        "import covalab._version as v; v.__version__ = p.__version__ = '9.9.9'\n"
        "from covalab.dispatcher.__main__ import main; main()\n"
    )
    folder.mkdir(mode=0o700)
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE, env=dict(os.environ)
    )
    assert process.stdout is not None
    process.stdout.readline()
    try:
        monkeypatch.setenv("COVALAB_DATA_DIR", str(folder))
        with pytest.raises(VersionMismatch, match=r"0\.1\.0.*9\.9\.9.*covalab stop"):
            ct.get_result("x")
        with pytest.raises(VersionMismatch):
            ct.dispatch(ct.lattice(adding))(1)
        Client(folder, start=False).stop()
        process.wait(15)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_what_waits_for_a_failed_electron_never_runs(tmp_path: Path) -> None:
    """`ct.wait` is order: after a failure there is nothing to come after."""
    touched = tmp_path / "touched"

    @ct.electron
    def fails() -> None:
        message = "on purpose"
        raise ValueError(message)

    @ct.electron
    def touch(path: str) -> None:
        Path(path).touch()

    @ct.lattice
    def flow(path: str) -> object:
        parent = fails()
        return ct.wait(touch(path), parent)

    result = ct.dispatch_sync(flow)(str(touched))

    assert result.status == ct.status.FAILED
    assert not touched.exists()


def test_a_dispatcher_that_cannot_serve_lets_go_of_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It fails with a reason after it has opened the database; once that is mended, the next one starts."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    where = socket_folder(folder)
    where.write_text("in the way")
    monkeypatch.setenv("COVALAB_DATA_DIR", str(folder))
    with pytest.raises(DataFolderError, match=where.name):
        connect()
    where.unlink()
    try:
        assert ct.dispatch_sync(ct.lattice(adding))(1).result == 2
    finally:
        Client(folder, start=False).stop()
