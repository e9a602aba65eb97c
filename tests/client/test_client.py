"""How a process reaches the dispatcher, whatever happens to either of them in between."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from tests.system.tasks import adding, sleeping
from tests.waiting import until

import covalab as ct
from covalab.client import Client, connect, paths
from covalab.client.connection import UnixConnection
from covalab.client.launcher import find, start_dispatcher
from covalab.core.errors import DataFolderError, DispatcherUnavailable, MissingLatticeRecordError, VersionMismatch

pytestmark = pytest.mark.sampled(6, of="file")


def kill(client: Client) -> int:
    """End a dispatcher as a power cut would; returns its process id."""
    address = find(client.data_dir)
    assert address is not None
    os.kill(address.pid, signal.SIGKILL)
    until(lambda: find(client.data_dir) is None)
    return address.pid


def test_a_call_after_the_dispatcher_died_starts_another(own: Client) -> None:
    """Reads, submissions and waits alike; what was recorded is there."""
    done = ct.dispatch_sync(ct.lattice(adding))(1).dispatch_id
    first = kill(own)
    assert own.summary(done).status == "completed"
    second = kill(own)
    assert ct.dispatch_sync(ct.lattice(adding))(2).result == 3
    third = own.status().pid

    assert len({first, second, third}) == 3


def test_many_may_come_at_once(own: Client) -> None:
    """More than can queue for a connection, while the dispatcher is busy: each is heard when its turn comes."""
    pid = own.status().pid
    os.kill(pid, signal.SIGSTOP)
    with ThreadPoolExecutor(300) as threads:
        answers = [threads.submit(own.status) for _ in range(300)]
        time.sleep(0.5)
        os.kill(pid, signal.SIGCONT)
        assert {answer.result(30).pid for answer in answers} == {pid}


def test_the_file_of_a_killed_dispatcher_misleads_nobody(own: Client) -> None:
    """While the next one comes up, its predecessor's address is not taken for it."""
    folder = own.data_dir
    kill(own)
    left = paths.address_file(folder)
    assert left.exists(), "a killed process cannot tidy up"
    program = (
        "import sys; from covalab.client import Client; from pathlib import Path; "
        f"print(Client(Path({str(folder)!r})).status().pid)"
    )
    callers = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(4)]
    said = [caller.communicate(timeout=240)[0].strip() for caller in callers]

    assert len(set(said)) == 1
    assert said[0] == str(own.status().pid)


def test_a_start_while_another_one_ends_waits_and_takes_its_place(own: Client) -> None:
    """Whoever calls in the second in which a dispatcher ends gets a new one, not an error after a minute."""
    for _ in range(3):
        address = find(own.data_dir)
        assert address is not None
        os.kill(address.pid, signal.SIGTERM)

        ending = address.pid
        until(lambda: Client(own.data_dir).status().pid != ending)  # noqa: B023 - it is over before the next round


def test_deleting_again_because_the_answer_was_lost_is_no_error(own: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first request was heard; the second finds nothing, which is what was wanted."""
    done = ct.dispatch_sync(ct.lattice(adding))(1).dispatch_id
    ask = UnixConnection.exchange
    asked = []

    def lose_first_answer(
        self: UnixConnection, method: str, target: str, body: bytes | None, accept: str
    ) -> tuple[int, str, bytes]:
        answer = ask(self, method, target, body, accept)
        asked.append(method)
        if len(asked) == 1:
            self.close()
            raise ConnectionResetError
        return answer

    monkeypatch.setattr(UnixConnection, "exchange", lose_first_answer)
    own.delete(done)
    assert asked == ["DELETE", "DELETE"]
    with pytest.raises(MissingLatticeRecordError):
        own.delete(done)


INTERRUPTED = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that runs this in the background ignores it
import covalab as ct
from tests.system.tasks import adding, sleeping
done = ct.dispatch_sync(ct.lattice(adding))(1).dispatch_id
slow = ct.dispatch(ct.lattice(sleeping))(600, {pid_file!r})
print("waiting", flush=True)
try:
    ct.get_result(slow, wait=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
assert ct.get_result(done).result == 2, "the next answer is the answer to the next question"
assert str(ct.get_result(slow, status_only=True)["status"]) in ("RUNNING", "NEW_OBJECT")
ct.cancel(slow)
print("fine", flush=True)
"""


def test_an_interrupt_ends_a_wait_and_the_next_call_is_right(own: Client, tmp_path: Path) -> None:
    """The notebook's stop button: the wait ends at once, and no answer is taken for another's."""
    program = f"import sys; sys.path[:0] = {sys.path!r}\n" + INTERRUPTED.format(pid_file=str(tmp_path / "pid"))
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        until((tmp_path / "pid").exists)
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "interrupted\n"
        assert process.stdout.readline() == "fine\n"
        assert process.wait(30) == 0


def test_a_forked_child_has_a_connection_of_its_own(own: Client) -> None:
    """Parent and child ask at the same time, and each gets its own answers."""
    ids = [ct.dispatch_sync(ct.lattice(adding))(n).dispatch_id for n in range(2)]
    program = (
        "import os, sys; from covalab.client import connect; client = connect(); "
        f"ids = {ids!r}; client.summary(ids[0]); child = os.fork(); mine = ids[child == 0]\n"
        "for _ in range(200): assert client.summary(mine).id == mine\n"
        "if child: assert os.waitpid(child, 0)[1] == 0; client.summary(mine)\n"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=240)

    assert done.returncode == 0, done.stderr


def test_several_threads_may_ask_at_once(live: Client) -> None:
    """Each thread has its own connection."""
    from concurrent.futures import ThreadPoolExecutor

    ids = [ct.dispatch_sync(ct.lattice(adding))(n).dispatch_id for n in range(4)]
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(live.summary, ids * 50))

    assert [answer.id for answer in answers] == ids * 50


def test_without_leave_to_start_nothing_is_started(tmp_path: Path) -> None:
    """Neither a process nor a folder appears."""
    folder = tmp_path / "data"
    with pytest.raises(DispatcherUnavailable, match="covalab start"):
        Client(folder, start=False).status()
    with pytest.raises(DispatcherUnavailable, match="covalab start"):
        connect(start=False, data_dir=folder)
    Client(folder, start=False).stop()

    assert not folder.exists()


def test_a_dispatcher_that_cannot_come_up_says_where_to_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, with the log that has the reason."""
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(
        "import sys\nif 'covalab.dispatcher' in sys.orig_argv: raise SystemExit('no')\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(hook))

    with pytest.raises(DispatcherUnavailable, match=r"did not come up; .*dispatcher\.log"):
        start_dispatcher(tmp_path / "data")


def test_an_idle_dispatcher_ends_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not while somebody waits for news or for a dispatch, nor while one runs; then, with its pool."""
    monkeypatch.setenv("COVALAB_IDLE_SECONDS", "0.5")
    monkeypatch.setenv("COVALAB_DATA_DIR", str(tmp_path / "data"))
    client = connect()
    pid = client.status().pid

    client.events(since=client.events().since, wait=2.0)
    assert client.status().pid == pid, "held open for longer than idle is allowed"
    later = ct.dispatch(ct.lattice(sleeping), disable_run=True)(0.0, str(tmp_path / "later"))
    assert client.record(later, wait=True, timeout=2.0, held=True).summary.status == "pending"
    assert client.status().pid == pid, "somebody waits for a dispatch that nobody has started"
    dispatch = ct.dispatch(ct.lattice(sleeping))(2.5, str(tmp_path / "pid"))
    until((tmp_path / "pid").exists)
    time.sleep(1.5)
    assert client.status().pid == pid, "a dispatch runs"
    family = psutil.Process(pid).children(recursive=True)
    assert ct.get_result(dispatch, wait=True).status == ct.status.COMPLETED
    until(lambda: find(client.data_dir) is None)

    _, alive = psutil.wait_procs(family, timeout=10)
    assert alive == []
    assert client.summary(dispatch).status == "completed", "the next call starts one again"
    client.stop()


def test_a_folder_becomes_private_or_is_refused(tmp_path: Path) -> None:
    """Readable by others: closed. Writable by others, a link, a file: refused with the way out."""
    fresh = paths.ensure_private(tmp_path / "a" / "b")
    assert stat.S_IMODE(fresh.stat().st_mode) == 0o700
    fresh.chmod(0o755)
    paths.ensure_private(fresh)
    assert stat.S_IMODE(fresh.stat().st_mode) == 0o700
    fresh.chmod(0o777)
    with pytest.raises(DataFolderError, match=r"others may write.*chmod 700"):
        paths.ensure_private(fresh)
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "file").touch()
    for other in ("link", "file", "file/below"):
        with pytest.raises(DataFolderError, match="COVALAB_DATA_DIR"):
            paths.ensure_private(tmp_path / other)


def test_folders_above_it_are_writable_by_nobody_else(tmp_path: Path) -> None:
    """Also where the umask lets everybody write: who can write there could put another folder in its place."""
    before = os.umask(0)
    try:
        paths.ensure_private(tmp_path / "a" / "b" / "c")
    finally:
        os.umask(before)

    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a", "a/b", "a/b/c")]
    assert modes == [0o755, 0o755, 0o700]


def test_a_folder_of_a_newer_version_is_refused_by_name(tmp_path: Path) -> None:
    """The process that cannot open it says why, and so does the error where it was asked for."""
    from covalab.store.pages import connect as connect_database

    folder = paths.ensure_private(tmp_path / "data")
    database = connect_database(folder / "covalab.db")
    database.execute("CREATE TABLE future (x); PRAGMA user_version = 99")
    database.close()

    with pytest.raises(VersionMismatch, match=r"schema 99.*upgrade covalab"):
        Client(folder).status()


def test_a_name_that_cannot_be_sent_is_named(live: Client) -> None:
    """Half a surrogate pair, as a file name that is no UTF-8 has: nothing is recorded."""
    lattice = ct.lattice(ct.electron(str, executor=ct.executor.LocalExecutor(workdir="a\ud800b")))
    before = len(live.dispatches(count=10_000))
    with pytest.raises(ct.GraphError, match=r"a\\ud800b.*no UTF-8"):
        ct.dispatch(lattice)(1)

    assert len(live.dispatches(count=10_000)) == before


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """It is named, with its owner."""
    if os.getuid() == 0:
        theirs = tmp_path / "theirs"
        theirs.mkdir(mode=0o700)
        os.chown(theirs, 65534, 65534)
    else:
        theirs = Path("/root")
    with pytest.raises(DataFolderError, match=r"belongs to user|cannot create|is read-only|others may"):
        paths.ensure_private(theirs)


def test_sockets_have_short_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data folder deep down gets a private socket folder elsewhere, the same one each time."""
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    short, deep = Path("/tmp/d"), tmp_path / ("x" * 120)

    assert paths.socket_folder(short) == short / "run"
    assert paths.socket_folder(deep) == paths.socket_folder(deep)
    assert paths.socket_folder(deep) != paths.socket_folder(deep / "y")
    assert len(str(paths.socket_folder(deep) / "dispatcher.sock")) < 100
