"""`python -m covalab.triggers.host`: the process of watching triggers.

Started by the dispatcher for one interpreter and folder. The users' objects are deserialized and run only here. This
process fetches its triggers from the dispatcher, and reports to it, by the same HTTP as every client. When its
dispatcher was killed it starts another, so that the triggers go on, and ends: the new one starts its own hosts.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import inspect
import logging
import os
import sys
import threading
import time
import traceback
import uuid
from pathlib import Path
from typing import Any, Final, NoReturn

from covalab import open_files
from covalab.client import Client
from covalab.client.launcher import find, start_dispatcher
from covalab.core.errors import CovalabError, DispatcherUnavailable, TakenOver
from covalab.core.model import DispatchId
from covalab.core.os_text import received
from covalab.core.trigger_states import Firing, TriggerReport, TriggerStatus, TriggerWatch

_log = logging.getLogger("covalab.triggers")
_WAIT_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 3.0
_SETTLED_SECONDS: Final = 5.0
"""Hosts do not restart a dispatcher that dies sooner than this: it would die again and again."""


class Watched:
    """A trigger that watches here, and its connection to the dispatcher."""

    def __init__(self, watch: TriggerWatch, client: Client, host: int) -> None:
        self.watch = watch
        self.object: Any = None
        self._client = client
        self._host = host
        self._is_over = threading.Event()
        self._trouble = ""
        self._reporting = threading.Lock()

    async def begin(self) -> None:
        """Deserialize the trigger and start it."""
        environment = self.watch.trigger.environment
        try:
            with contextlib.suppress(OSError):  # the notebook's folder; if it is gone, a trigger that needs it fails
                os.chdir(received(environment.cwd))
            for entry in map(received, reversed(environment.path)):
                if entry not in sys.path:
                    sys.path.insert(0, entry)
            found = self._client.blobs.deserialize(self.watch.trigger.code, what=f"trigger {self.watch.trigger.name}")
            found.lattice_dispatch_id = str(self.watch.dispatch)
            found.event_loop = asyncio.get_running_loop()
            found._watcher = self  # noqa: SLF001 - host and base class are one mechanism
            self.object = found
            if found.observe_blocks and not inspect.iscoroutinefunction(found.observe):
                threading.Thread(target=self._observe, daemon=True, name=self.watch.trigger.id).start()
                await self._report_watching()
            elif inspect.isawaitable(waiting := found.observe()):
                observing = asyncio.ensure_future(waiting)
                await asyncio.sleep(0)  # up to where it waits for the first time
                if not observing.done():
                    await self._report_watching()
                await observing
                self._end("ended")
            else:
                await self._report_watching()
        except Exception:  # noqa: BLE001 - user code; the other triggers go on
            self.fail(traceback.format_exc())

    async def _report_watching(self) -> None:
        """Report that it watches: until then nobody relies on it. Of one that has ended meanwhile nothing changes."""
        await asyncio.to_thread(self._report_trouble)

    def _observe(self) -> None:
        try:
            self.object.observe()
        except BaseException:  # noqa: BLE001 - also SystemExit: it ends this trigger and nothing else
            self.fail(traceback.format_exc())
        else:
            self._end("ended")

    def stop(self) -> None:
        """Stop the trigger."""
        if self._is_over.is_set():
            return
        self._is_over.set()
        if self.object is not None:
            try:
                self.object.stop()
            except Exception:  # noqa: BLE001 - user code; its reports are ignored from here on
                _log.exception("stopping trigger %s", self.watch.trigger.name)

    # -- `covalab.triggers.base.Watcher` -------------------------------------------------------------------------

    def fire(self) -> DispatchId:
        """Run the workflow; repeat the request until a dispatcher answers it."""
        firing = Firing(DispatchId(str(uuid.uuid4())), self._host)
        while True:
            try:
                return self._client.fire(self.watch.trigger.id, firing).id
            except DispatcherUnavailable:
                time.sleep(0.2)  # it was killed; the main thread starts another
            except TakenOver:
                _leave()

    def report_trouble(self, error: str) -> None:
        """Report an error after which it goes on watching."""
        self._report_trouble(error)

    def _report_trouble(self, error: str | None = None) -> None:
        """Report that it watches; None: with the error that was reported before, which may be a moment ago."""
        with self._reporting:
            self._trouble = self._trouble if error is None else error
            self._report("watching", self._trouble)

    def fail(self, error: str) -> None:
        """Report the error that ended it."""
        _log.error("trigger %s of dispatch %s failed: %s", self.watch.trigger.name, self.watch.dispatch, error)
        self._end("failed", error)

    def _end(self, state: TriggerStatus, error: str = "") -> None:
        if not self._is_over.is_set():
            self._is_over.set()
            self._report(state, error)

    def _report(self, state: TriggerStatus, error: str) -> None:
        with contextlib.suppress(CovalabError):  # the dispatcher is gone: the next one starts the trigger anew
            self._client.report_trigger(self.watch.trigger.id, TriggerReport(self._host, state, error))


async def serve(data_dir: Path, host: int) -> None:
    """Watch the triggers of a dispatcher until there are none left, or another dispatcher has taken over."""
    client = Client(data_dir, start=False)
    watched: dict[str, Watched] = {}
    tasks: set[asyncio.Task[None]] = set()
    number = 0
    began = time.monotonic()
    while True:
        try:
            wanted_now = await asyncio.to_thread(client.watches, host, number, _WAIT_SECONDS)
        except TakenOver:
            _leave()
        except DispatcherUnavailable:
            if find(data_dir) is None and time.monotonic() - began > _SETTLED_SECONDS:
                _revive(data_dir)
            await asyncio.sleep(0.2)
            if time.monotonic() - began <= _SETTLED_SECONDS and find(data_dir) is None:
                _leave()
            continue
        number = wanted_now.number
        wanted = {watch.trigger.id: watch for watch in wanted_now.watches}
        for gone in watched.keys() - wanted.keys():
            stopping = asyncio.to_thread(watched.pop(gone).stop)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(stopping, _STOP_SECONDS)
        if not wanted:
            _leave()
        for new in wanted.keys() - watched.keys():
            watched[new] = Watched(wanted[new], client, host)
            task = asyncio.create_task(watched[new].begin())
            tasks.add(task)
            task.add_done_callback(tasks.discard)


def _revive(data_dir: Path) -> None:
    """Start another dispatcher where one was killed, unless the data folder was removed."""
    if (data_dir / "covalab.db").exists():
        with contextlib.suppress(CovalabError):
            start_dispatcher(data_dir)


def _leave() -> NoReturn:
    """End this process without waiting for its triggers."""
    logging.shutdown()
    os._exit(0)


def main() -> None:
    """Run the host of one dispatcher."""
    parser = argparse.ArgumentParser(prog="python -m covalab.triggers.host", description=__doc__)
    parser.add_argument("--data-dir", required=True, type=Path)
    parser.add_argument("--host", required=True, type=int)
    arguments = parser.parse_args()
    open_files.take_limit()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s triggers %(levelname)s %(message)s")
    asyncio.run(serve(arguments.data_dir, arguments.host))


if __name__ == "__main__":
    main()
