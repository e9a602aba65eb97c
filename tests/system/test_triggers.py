"""Triggers that watch: in their own process, through restarts and kills."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import CliRunner
from tests.system.tasks import adding
from tests.waiting import until

import covalab as ct
from covalab.cli import main
from covalab.client import Client, connect
from covalab.client.launcher import find
from covalab.core.errors import DispatcherError, MissingLatticeRecordError, SerializationError, TriggerError
from covalab.triggers import BaseTrigger, DirTrigger, SQLiteTrigger, TimeTrigger

pytestmark = [pytest.mark.usefixtures("live"), pytest.mark.sampled(6, of="file")]


class WhenThere(BaseTrigger):
    """Fires for every file that appears under the names that it is given."""

    def __init__(self, *files: Path) -> None:
        super().__init__()
        self.files = [str(file) for file in files]
        self.stopped = False

    def observe(self) -> None:
        """Look."""
        for file in self.files:
            while not os.path.exists(file):  # noqa: PTH110
                if self.stopped:
                    return
                time.sleep(0.01)
            self.trigger()

    def stop(self) -> None:
        """Look no more."""
        self.stopped = True


def hosts(client: Client) -> list[psutil.Process]:
    """Return the trigger hosts of a data folder."""
    found = []
    for process in psutil.process_iter():
        try:
            line = process.cmdline()
        except psutil.Error:
            continue
        if "covalab.triggers.host" in line and str(client.data_dir) in line:
            found.append(process)
    return found


def test_the_first_firing_starts_the_dispatch_and_the_others_repeat_it(tmp_path: Path) -> None:
    """Until then it is NEW_OBJECT; the user's object learns the new ids; the class needs no registration."""
    files = [tmp_path / f"{n}" for n in range(3)]
    trigger = WhenThere(*files)
    run = ct.dispatch(ct.lattice(adding, triggers=trigger))(1)
    assert ct.get_result(run).status == ct.status.NEW_OBJECT
    assert trigger.lattice_dispatch_id == run
    assert trigger.state == "watching"

    files[0].touch()
    assert ct.get_result(run, wait=True, timeout=120).result == 2
    assert trigger.new_dispatch_ids == []
    files[1].touch()
    files[2].touch()
    until(lambda: len(trigger.new_dispatch_ids) == 2)
    until(lambda: trigger.state == "ended")
    for new in trigger.new_dispatch_ids:
        assert ct.get_result(new, wait=True, timeout=120).result == 2
    assert [str(fired) for fired in ct.get_result(run).triggers[0].fired] == [run, *trigger.new_dispatch_ids]


def test_several_triggers_watch_for_one_dispatch(tmp_path: Path) -> None:
    """Each fires for itself; the original is started once."""
    one, two = WhenThere(tmp_path / "one"), WhenThere(tmp_path / "two")
    run = ct.dispatch(ct.lattice(adding, triggers=[one, two]))(1)
    (tmp_path / "two").touch()
    assert ct.get_result(run, wait=True, timeout=120).result == 2
    (tmp_path / "one").touch()
    until(lambda: one.state == "ended")

    assert (len(one.new_dispatch_ids), len(two.new_dispatch_ids)) == (1, 0)


def test_the_same_lattice_can_be_dispatched_again(tmp_path: Path) -> None:
    """With its triggers, which Covalent forgets: the object stands for the last dispatch, the first watches on."""
    trigger = WhenThere(tmp_path / "file")
    flow = ct.lattice(adding, triggers=trigger)
    first = ct.dispatch(flow)(1)
    second = ct.dispatch(flow)(2)
    assert trigger.lattice_dispatch_id == second
    (tmp_path / "file").touch()

    assert ct.get_result(first, wait=True, timeout=120).result == 2
    assert ct.get_result(second, wait=True, timeout=120).result == 3


def test_a_trigger_can_be_registered_for_an_existing_dispatch(tmp_path: Path) -> None:
    """One that has ended is repeated; one that was recorded only is started."""
    done = ct.dispatch_sync(ct.lattice(adding))(1).dispatch_id
    held = ct.dispatch(ct.lattice(adding), disable_run=True)(2)
    for run in (done, held):
        trigger = WhenThere(tmp_path / run)
        trigger.lattice_dispatch_id = run
        trigger.register()
        (tmp_path / run).touch()
        until(lambda trigger=trigger: trigger.state == "ended")  # type: ignore[misc]
        assert len(trigger.new_dispatch_ids) == (run is done)
    assert ct.get_result(held, wait=True, timeout=120).result == 3
    with pytest.raises(MissingLatticeRecordError, match="nowhere"):
        TimeTrigger(1, lattice_dispatch_id="nowhere").register()


def test_time_folder_and_table_fire(tmp_path: Path) -> None:
    """The built-in kinds, each for a dispatch of its own."""
    with sqlite3.connect(tmp_path / "jobs.db") as database:
        database.execute("CREATE TABLE jobs (state)")
    database.close()
    kinds: list[BaseTrigger] = [
        TimeTrigger(0.3),
        DirTrigger(tmp_path, ["created"]),
        SQLiteTrigger(str(tmp_path / "jobs.db"), "jobs", poll_interval=0.1),
    ]
    runs = [ct.dispatch(ct.lattice(adding, triggers=kind))(number) for number, kind in enumerate(kinds)]
    assert [kind.state for kind in kinds] == ["watching"] * 3
    (tmp_path / "new").touch()
    with sqlite3.connect(tmp_path / "jobs.db") as database:
        database.execute("INSERT INTO jobs VALUES ('new')")
    database.close()

    for number, run in enumerate(runs):
        assert ct.get_result(run, wait=True, timeout=120).result == number + 1
    until(lambda: len(kinds[0].new_dispatch_ids) > 1)
    ct.stop_triggers(runs)
    assert [kind.state for kind in kinds] == ["stopped"] * 3


class Telling(BaseTrigger):
    """Watches a folder from `observe` on, which takes a while; blocking, on the event loop, or as a coroutine."""

    def __init__(self, folder: str, kind: str) -> None:
        super().__init__()
        self.folder, self.observe_blocks = folder, kind == "blocks"
        if kind == "awaits":
            self.observe = self._awaiting  # type: ignore[method-assign, assignment]

    def observe(self) -> None:
        """Look; without blocking, look in a thread that begins late."""
        if self.observe_blocks:
            self._look()
        else:
            before = os.stat(self.folder).st_mtime_ns  # noqa: PTH116
            time.sleep(0.3)
            threading.Thread(target=self._look, args=(before,), daemon=True).start()

    async def _awaiting(self) -> None:
        await asyncio.to_thread(self._look)

    def _look(self, before: int = 0) -> None:
        while self.stop_flag is None and (os.stat(self.folder).st_mtime_ns == before or not os.listdir(self.folder)):  # noqa: PTH116, PTH208
            time.sleep(0.01)
        self.trigger()

    def stop(self) -> None:
        """Look no more."""
        self.stop_flag = True


def test_what_happens_right_after_dispatch_returns_is_seen(tmp_path: Path, monkeypatch: Any) -> None:
    """Of every kind of trigger; `register` as `dispatch`. The first one has to wait for its host process to start."""
    monkeypatch.chdir(tmp_path)
    kinds: list[BaseTrigger] = [
        DirTrigger("0", "created"),
        DirTrigger("1", ["modified", "closed"], batch_size=2, recursive=True),
        *(Telling(str(number), kind) for number, kind in enumerate(("blocks", "returns", "awaits"), 2)),
        TimeTrigger(3600),
    ]
    for number, kind in enumerate(kinds):
        (tmp_path / str(number)).mkdir()
        if number % 2:
            kind.lattice_dispatch_id = ct.dispatch(ct.lattice(adding), disable_run=True)(number)
            kind.register()
        else:
            ct.dispatch(ct.lattice(adding, triggers=kind))(number)
        assert kind.state == "watching"
        with open(tmp_path / str(number) / "file", "w") as file:  # noqa: PTH123 - created, modified, closed
            file.write("x")
    *folders, clock = kinds
    for number, kind in enumerate(folders):
        assert kind.lattice_dispatch_id is not None
        assert ct.get_result(kind.lattice_dispatch_id, wait=True, timeout=120).result == number + 1
    assert ct.get_result(str(clock.lattice_dispatch_id)).status == ct.status.NEW_OBJECT
    for kind in kinds:
        kind.stop()


def test_dispatch_returns_when_a_trigger_cannot_watch(tmp_path: Path) -> None:
    """What raises, what has ended at once and what cannot be had: `dispatch` says nothing, the trigger does."""
    failing, ending = DirTrigger(tmp_path / "nowhere", "created"), WhenThere()
    for trigger, state in ((failing, "failed"), (ending, "ended")):
        ct.dispatch(ct.lattice(adding, triggers=trigger))(1)
        until(lambda trigger=trigger, state=state: trigger.state == state)  # type: ignore[misc]
    assert "there is no" in failing.error


@pytest.mark.parametrize("how", ["object", "stop_triggers", "list"])
def test_a_stopped_trigger_fires_no_more(how: str, tmp_path: Path) -> None:
    """By the user's object, by the id, by a list of ids; it says so when it is made to fire."""
    trigger = WhenThere(tmp_path / "file")
    run = ct.dispatch(ct.lattice(adding, triggers=trigger))(1)
    ways: dict[str, Callable[[], object]] = {
        "object": trigger.stop,
        "stop_triggers": lambda: ct.stop_triggers(run),
        "list": lambda: ct.stop_triggers([run]),
    }
    ways[how]()
    (tmp_path / "file").touch()

    assert trigger.state == "stopped"
    with pytest.raises(TriggerError, match="is stopped"):
        trigger.trigger()
    time.sleep(0.3)
    assert ct.get_result(run).status == ct.status.NEW_OBJECT


def test_stopping_what_there_is_not_is_an_error(tmp_path: Path) -> None:
    """An unknown id is missing, one without triggers has none (Covalent: HTTP 500); then nothing is stopped."""
    trigger = WhenThere(tmp_path / "file")
    run = ct.dispatch(ct.lattice(adding, triggers=trigger))(1)
    without = ct.dispatch_sync(ct.lattice(adding))(1).dispatch_id

    with pytest.raises(MissingLatticeRecordError, match="nowhere"):
        ct.stop_triggers([run, "nowhere"])
    with pytest.raises(TriggerError, match=f"{without} has no triggers"):
        ct.stop_triggers([run, without])
    assert trigger.state == "watching"
    trigger.stop()


def test_a_trigger_can_be_fired_by_hand(tmp_path: Path) -> None:
    """On the user's object, whether it is registered or only has an id."""
    trigger = WhenThere(tmp_path / "never")
    run = ct.dispatch(ct.lattice(adding, triggers=trigger))(1)
    trigger.trigger()
    trigger.trigger()
    assert ct.get_result(run, wait=True, timeout=120).result == 2
    assert len(trigger.new_dispatch_ids) == 1
    trigger.stop()

    loose = TimeTrigger(1, lattice_dispatch_id=run)
    loose.trigger()
    assert ct.get_result(loose.new_dispatch_ids[0], wait=True, timeout=120).result == 2


def test_a_trigger_that_raises_is_shown_and_the_others_go_on(tmp_path: Path) -> None:
    """With its traceback, in `covalab show` and in the Result."""

    class Broken(BaseTrigger):
        def observe(self) -> None:
            message = "the sensor is gone"
            raise OSError(message)

        def stop(self) -> None:
            pass

    class Unpickled(Broken):
        def __reduce__(self) -> tuple[Any, ...]:
            return os.stat, ("/nowhere",)

    good = WhenThere(tmp_path / "file")
    run = ct.dispatch(ct.lattice(adding, triggers=[Broken(), Unpickled(), good, Later()]))(1)
    until(lambda: [state.state for state in ct.get_result(run).triggers].count("failed") == 2)
    until(lambda: ct.get_result(run).triggers[3].state == "ended")

    failed, unpickled = ct.get_result(run).triggers[:2]
    assert "the sensor is gone" in failed.error
    assert "in observe" in failed.error
    assert "/nowhere" in unpickled.error
    assert "the sensor is gone" in CliRunner().invoke(main, ["show", run]).output
    (tmp_path / "file").touch()
    until(lambda: good.state == "ended")


class Later(BaseTrigger):
    """Observes on the host's event loop."""

    async def observe(self) -> None:
        """Wait a moment, then fire."""
        assert asyncio.get_running_loop() is self.event_loop
        await asyncio.sleep(0.01)
        self.trigger()

    def stop(self) -> None:
        """End by itself."""


def test_a_trigger_that_cannot_be_pickled_is_named() -> None:
    """Nothing is recorded."""
    trigger = WhenThere()
    trigger.files = (n for n in range(3))  # type: ignore[assignment]
    n = len(connect().dispatches(count=1000))

    with pytest.raises(SerializationError, match="trigger WhenThere"):
        ct.dispatch(ct.lattice(adding, triggers=trigger))(1)
    assert len(connect().dispatches(count=1000)) == n


def test_a_watched_dispatch_is_kept(live: Client, tmp_path: Path) -> None:
    """It is repeated, so it cannot be deleted before its triggers are stopped; one that never ran can."""
    trigger = WhenThere(tmp_path / "file")
    run = ct.dispatch(ct.lattice(adding, triggers=trigger))(1)
    trigger.trigger()
    ct.get_result(run, wait=True, timeout=120)
    with pytest.raises(DispatcherError, match=r"ct\.stop_triggers"):
        live.delete(run)
    trigger.stop()
    live.delete(run)

    other = ct.dispatch(ct.lattice(adding, triggers=WhenThere(tmp_path / "other")))(1)
    live.delete(other)
    with pytest.raises(MissingLatticeRecordError):
        live.triggers(other)


def test_triggers_survive_a_restart(own: Client, tmp_path: Path) -> None:
    """What was fired is remembered; what was stopped stays stopped; with nothing to watch there is no process."""
    stopped, trigger = WhenThere(tmp_path / "stopped"), WhenThere(tmp_path / "one", tmp_path / "two")
    run = ct.dispatch(ct.lattice(adding, triggers=[stopped, trigger]))(1)
    stopped.stop()
    until(lambda: len(hosts(own)) == 1)
    own.stop()
    until(lambda: hosts(own) == [])
    (tmp_path / "stopped").touch()
    (tmp_path / "one").touch()

    assert own.triggers(run)[0].state == "stopped"
    until(lambda: own.summary(run).status == "completed")
    assert stopped.state == "stopped"
    (tmp_path / "two").touch()
    until(lambda: trigger.state == "ended")
    until(lambda: hosts(own) == [])
    assert len(trigger.new_dispatch_ids) == 1


def test_triggers_survive_the_kill_of_their_process(own: Client, tmp_path: Path) -> None:
    """Another takes its place and watches the same."""
    trigger = WhenThere(tmp_path / "file")
    run = ct.dispatch(ct.lattice(adding, triggers=trigger))(1)
    until(lambda: len(hosts(own)) == 1)
    (first,) = hosts(own)
    first.kill()
    until(lambda: [process.pid for process in hosts(own)] not in ([], [first.pid]))
    (tmp_path / "file").touch()

    assert ct.get_result(run, wait=True, timeout=120).result == 2


@pytest.mark.parametrize("asked", [True, False], ids=["somebody asks", "nobody asks"])
def test_triggers_survive_the_kill_of_the_dispatcher(own: Client, tmp_path: Path, asked: bool) -> None:
    """The next one watches on; when nobody starts one, the trigger host that it left behind does."""
    trigger = WhenThere(tmp_path / "file")
    run = ct.dispatch(ct.lattice(adding, triggers=trigger))(1)
    until(lambda: len(hosts(own)) == 1)
    (first,) = hosts(own)
    if not asked:
        time.sleep(6)  # so young a host would leave it to others
    address = find(own.data_dir)
    assert address is not None
    os.kill(address.pid, signal.SIGKILL)
    if asked:
        own.status()
    until(lambda: find(own.data_dir) is not None)
    (tmp_path / "file").touch()

    assert ct.get_result(run, wait=True, timeout=120).result == 2
    until(lambda: not first.is_running())
    assert [str(fired) for fired in own.triggers(run)[0].fired] == [str(run)]


NOTEBOOK = """
import sys
import covalab as ct
from covalab.triggers import BaseTrigger

class Mine(BaseTrigger):
    def __init__(self, n):
        super().__init__()
        self.n = n
    def observe(self):
        for _ in range(self.n):
            self.trigger()
    def stop(self):
        pass

@ct.electron
def double(x):
    return 2 * x

@ct.lattice(triggers=Mine(3))
def flow(x):
    return double(x)

print(ct.dispatch(flow)(21))
"""


def test_a_trigger_of_a_notebook_goes_on_without_it(live: Client) -> None:
    """Its class is in no module, and its session has ended."""
    done = subprocess.run([sys.executable, "-c", NOTEBOOK], check=True, capture_output=True, text=True)
    run = done.stdout.strip()

    until(lambda: live.triggers(run)[0].state == "ended")
    fired = live.triggers(run)[0].fired
    assert len(fired) == 3
    assert {ct.get_result(one, wait=True, timeout=120).result for one in fired} == {42}
