"""Errors of the disk in each step of a start, recovery among them: they are told, and the next start goes on."""

from __future__ import annotations

import datetime as dt
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.system.invariants import EXPECTED, Watch, recorded, seeded, two_hundred
from tests.system.processes import dispatcher
from tests.waiting import LONG, until

import covalab as ct
from covalab.client import Client
from covalab.core.errors import DataFolderError

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(900)]

# In a dispatcher: each step is noted, and the one that a file names fails once.
HOOK = """
import os, sys
if "covalab.dispatcher" in sys.orig_argv:
    from pathlib import Path
    import tornado.netutil
    from covalab.core.errors import DataFolderError
    from covalab.store import store

    folder = Path(os.environ["TEST_ERRORS"])
    armed, steps = folder / "armed", folder / "steps"
    steps.write_text("")
    seen = []

    def step(kind):
        name = f"{kind} {seen.count(kind)}"
        seen.append(kind)
        with steps.open("a") as file:
            file.write(name + "\\n")
        if armed.exists() and armed.read_text() == name:
            armed.unlink()
            raise DataFolderError(f"the disk failed at {name}")

    def failing(kind, call):
        def wrapped(*args, **options):
            step(kind)
            return call(*args, **options)
        return wrapped

    store.Store.__init__ = failing("open", store.Store.__init__)
    store.Store.read = failing("read", store.Store.read)
    store.Store.write = failing("write", store.Store.write)
    tornado.netutil.bind_unix_socket = failing("bind", tornado.netutil.bind_unix_socket)
    replace = Path.replace
    Path.replace = lambda path, target: (
        (step("publish") if str(target).endswith("dispatcher.json") else None), replace(path, target))[1]
"""


class Failing(NamedTuple):
    """A dispatcher whose disk fails at a step."""

    client: Client
    folder: Path

    def steps_of_a_start(self) -> list[str]:
        """Start it, and return what it does until it can be found."""
        self.client.status()
        steps = (self.folder / "steps").read_text().splitlines()
        return steps[: steps.index("publish 0") + 1]

    def arm(self, step: str) -> Path:
        """Let a step fail."""
        armed = self.folder / "armed"
        armed.write_text(step)
        return armed


@pytest.fixture
def failing(tmp_path: Path) -> Iterator[Failing]:
    """Run such a dispatcher."""
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(HOOK)
    with dispatcher(tmp_path / "data", PYTHONPATH=str(hook), TEST_ERRORS=str(tmp_path)) as client:
        yield Failing(client, tmp_path)


def kill(client: Client) -> None:
    """Kill the dispatcher."""
    os.kill(client.status().pid, signal.SIGKILL)


def test_an_error_in_each_step_of_a_start_is_told_and_the_next_start_goes_on(failing: Failing, tmp_path: Path) -> None:
    """With a dispatch of 200 tasks in its middle, a sublattice in it, and one that waits for its time."""
    chance, client, witness = seeded(), failing.client, tmp_path / "witness"
    waits: Any = ct.dispatch(two_hundred, eta=dt.timedelta(hours=1))(str(tmp_path / "never"))
    dispatch = str(ct.dispatch(two_hundred)(str(witness)))
    watch = Watch(client, witness)
    share = chance.randrange(20, 80)
    until(lambda: len(recorded(client.data_dir)) >= share)
    kill(client)
    watch.note()
    steps = failing.steps_of_a_start()
    print(steps)
    assert len(steps) >= 8
    for step in steps:
        kill(client)
        armed = failing.arm(step)
        with pytest.raises(DataFolderError, match=f"the disk failed at {step}"):
            client.status()
        assert not armed.exists()
        watch.note()
        client.status()
    assert ct.get_result(dispatch, wait=True, timeout=LONG).result == EXPECTED
    assert client.summary(str(waits)).held
    watch.check()
