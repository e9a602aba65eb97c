"""What triggers are made of, before anything watches."""

from __future__ import annotations

import inspect
import itertools
import pickle
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import covalab as ct
from covalab.core.errors import GraphError, TriggerError
from covalab.core.model import DispatchId
from covalab.triggers import (
    BaseTrigger,
    DatabaseTrigger,
    DirTrigger,
    SQLiteTrigger,
    TimeTrigger,
    available_triggers,
)

COMMON = ["lattice_dispatch_id", "dispatcher_addr", "triggers_server_addr"]
POLLING = ["db_path", "table_name", "poll_interval", "where_clauses", "trigger_after_n", *COMMON]


class Noting:
    """Take the place of the host: note what a trigger says."""

    def __init__(self, enough: int = 1) -> None:
        self.fired: list[float] = []
        self.troubles: list[str] = []
        self.failures: list[str] = []
        self.enough = threading.Event()
        self._enough = enough

    def fire(self) -> DispatchId:
        """Note when it fired."""
        self.fired.append(time.monotonic())
        if len(self.fired) >= self._enough:
            self.enough.set()
        return DispatchId(f"run-{len(self.fired)}")

    def report_trouble(self, error: str) -> None:
        """Note its trouble."""
        self.troubles.append(error)

    def fail(self, error: str) -> None:
        """Note its end."""
        self.failures.append(error)


def watching(trigger: BaseTrigger, noting: Noting) -> Callable[[], None]:
    """Let a trigger watch in this process; returns what stops it."""
    trigger._watcher = noting
    thread = threading.Thread(target=trigger.observe)
    thread.start()

    def stop() -> None:
        trigger.stop()
        thread.join(10)
        assert not thread.is_alive()

    return stop


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        (BaseTrigger, COMMON),
        (TimeTrigger, ["time_gap", *COMMON]),
        (DirTrigger, ["dir_path", "event_names", "batch_size", *COMMON, "recursive"]),
        (DatabaseTrigger, POLLING),
        (SQLiteTrigger, POLLING),
    ],
)
def test_constructors_are_covalents(kind: type[BaseTrigger], parameters: list[str]) -> None:
    """The same parameters in the same order."""
    assert list(inspect.signature(kind).parameters) == parameters


def test_a_trigger_describes_itself() -> None:
    """`to_dict`: its attributes with Covalent's names and defaults, and the name of its class."""
    assert TimeTrigger(5).to_dict() == {
        "lattice_dispatch_id": None,
        "dispatcher_addr": None,
        "triggers_server_addr": None,
        "observe_blocks": True,
        "event_loop": None,
        "use_internal_funcs": True,
        "stop_flag": None,
        "time_gap": 5,
        "new_dispatch_ids": [],
        "name": "TimeTrigger",
    }
    assert DirTrigger("/data", "created").to_dict()["observe_blocks"] is False
    assert DirTrigger("/data", ["created", "moved"], batch_size=3).to_dict()["event_names"] == ["created", "moved"]


def test_every_kind_is_available() -> None:
    """Also one that a notebook defines; nothing has to be entered."""

    class Mine(BaseTrigger):
        pass

    assert available_triggers["TimeTrigger"] is TimeTrigger
    assert available_triggers["Mine"] is Mine


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: TimeTrigger(0), "time_gap"),
        (lambda: TimeTrigger("1"), "time_gap"),  # type: ignore[arg-type]
        (lambda: DirTrigger("/data", "renamed"), "'renamed'"),
        (lambda: DirTrigger("/data", []), "none"),
        (lambda: DirTrigger("/data", "created", batch_size=0), "batch_size"),
        (lambda: SQLiteTrigger("/db", "t", poll_interval=-1), "poll_interval"),
        (lambda: SQLiteTrigger("/db", "t", trigger_after_n=0), "trigger_after_n"),
    ],
)
def test_a_trigger_that_makes_no_sense_is_refused(make: Callable[[], object], words: str) -> None:
    """Where it is written; the message names the argument."""
    with pytest.raises(ValueError, match=words):
        make()


def test_a_database_needs_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says what to install."""
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(ModuleNotFoundError, match=r"covalab\[database\]"):
        DatabaseTrigger("sqlite:///x", "t")


@pytest.mark.parametrize("what", [5, TimeTrigger, [TimeTrigger(1), "hourly"]])
def test_a_lattice_takes_triggers_only(what: Any) -> None:
    """A class or a text is none."""
    with pytest.raises(GraphError, match="is not a trigger"):
        ct.lattice(triggers=what)(len)


def test_a_lattice_tells_its_triggers() -> None:
    """In its metadata, as Covalent does; they stay with the object."""
    flow = ct.lattice(len, triggers=TimeTrigger(5))
    empty = ct.lattice(len)

    assert flow.metadata["triggers"][0]["name"] == "TimeTrigger"
    assert empty.metadata["triggers"] is None
    empty.set_metadata("triggers", [TimeTrigger(1), TimeTrigger(2)])
    assert len(empty.triggers) == 2


@pytest.mark.parametrize("do", [TimeTrigger.trigger, TimeTrigger.register])
def test_a_trigger_without_a_dispatch_says_so(do: Callable[[TimeTrigger], None]) -> None:
    """A `RuntimeError`, as in Covalent."""
    with pytest.raises(TriggerError, match="lattice_dispatch_id") as raised:
        do(TimeTrigger(1))
    assert isinstance(raised.value, RuntimeError)


def test_time_passes_between_two_firings() -> None:
    """The first comes after one gap."""
    noting = Noting(3)
    began = time.monotonic()
    stop = watching(TimeTrigger(0.1), noting)
    assert noting.enough.wait(10)
    stop()

    moments = [began, *noting.fired]
    assert all(later - earlier >= 0.099 for earlier, later in itertools.pairwise(moments))


@pytest.mark.parametrize("kind", ["sqlite", "database"])
def test_a_table_with_rows_fires(kind: str, tmp_path: Path) -> None:
    """A file or table that is not there yet is told and is no end; all conditions must be met, so many looks needed."""
    file = tmp_path / "jobs.db"
    arguments: dict[str, Any] = {
        "table_name": "jobs",
        "poll_interval": 0.02,
        "where_clauses": ["size > 2", "state = 'new'"],
        "trigger_after_n": 3,
    }
    trigger: BaseTrigger
    if kind == "sqlite":
        trigger = SQLiteTrigger(str(file), **arguments)
    else:
        trigger = DatabaseTrigger(f"sqlite:///{file}", **arguments)
    noting = Noting(2)
    stop = watching(trigger, noting)
    while not noting.troubles:
        time.sleep(0.01)
    with sqlite3.connect(file) as database:
        database.execute("CREATE TABLE jobs (size, state)")
        database.execute("INSERT INTO jobs VALUES (1, 'new'), (5, 'old')")
    database.close()
    time.sleep(0.3)
    assert noting.fired == []
    with sqlite3.connect(file) as database:
        database.execute("INSERT INTO jobs VALUES (5, 'new')")
    database.close()
    assert noting.enough.wait(10)
    stop()

    assert noting.fired[1] - noting.fired[0] >= 0.04
    assert "OperationalError" in noting.troubles[0]
    assert noting.troubles[-1] == ""
    assert noting.failures == []


@pytest.mark.parametrize(("recursive", "expected"), [(False, 2), (True, 3)])
def test_a_folder_fires_after_every_batch(tmp_path: Path, recursive: bool, expected: int) -> None:
    """Of the named events only, in folders below if asked for."""
    below = tmp_path / "below"
    below.mkdir()
    trigger = DirTrigger(tmp_path, "created", batch_size=2, recursive=recursive)
    noting = Noting(expected)
    trigger._watcher = noting
    trigger.observe()
    try:
        for number in range(4):
            (tmp_path / f"{number}").touch()
            (tmp_path / f"{number}").unlink()
        for number in range(2):
            (below / f"{number}").touch()
        assert noting.enough.wait(10)
        time.sleep(0.2)
    finally:
        trigger.stop()

    assert len(noting.fired) == expected
    assert trigger.new_dispatch_ids == [f"run-{n + 1}" for n in range(expected)]


def test_a_folder_trigger_attaches_a_method_for_each_event(tmp_path: Path) -> None:
    """Covalent's `attach_methods_to_handler`: those that were asked for, which count; of a file as of a folder.

    A handler of one's own keeps its other methods. The copy that travels has no handler.
    """
    from watchdog.events import FileCreatedEvent, FileSystemEventHandler

    class Mine(FileSystemEventHandler):
        """Counts what was closed without writing."""

        n = 0

        def on_closed_no_write(self, event: Any) -> None:
            self.n += 1

    names = ["created", "deleted", "modified", "moved", "closed"]
    (tmp_path / "file").touch()
    trigger = DirTrigger(tmp_path / "file", names, batch_size=3)
    trigger._watcher = noting = Noting(2)
    trigger.event_handler = mine = Mine()
    trigger.attach_methods_to_handler()

    assert trigger.event_handler is mine
    assert {name for name in vars(mine) if name.startswith("on_")} == {f"on_{name}" for name in names}
    mine.on_created(FileCreatedEvent("x"))
    assert trigger.n_changes == 1
    assert pickle.loads(pickle.dumps(trigger)).event_handler is None
    trigger.observe()
    try:
        (tmp_path / "file").write_text("opened, modified, closed")
        (tmp_path / "file").rename(tmp_path / "other")
        (tmp_path / "other").rename(tmp_path / "file")
        (tmp_path / "file").unlink()
        assert noting.enough.wait(10)
    finally:
        trigger.stop()
    only = DirTrigger(tmp_path, "moved")
    only.attach_methods_to_handler()
    assert [name for name in vars(only.event_handler) if name.startswith("on_")] == ["on_moved"]


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """It is told which."""
    with pytest.raises(FileNotFoundError, match="nowhere"):
        DirTrigger(tmp_path / "nowhere", "created").observe()


def test_a_copy_knows_nothing_of_the_original() -> None:
    """What watches is registered by its own number, and has fired nothing."""
    trigger = TimeTrigger(3, "some-id")
    trigger._attach("some-id", "number")
    copy = pickle.loads(pickle.dumps(trigger))

    assert (copy.time_gap, copy._registered, copy.new_dispatch_ids) == (3, "", [])
