"""`python -m covalab.dispatcher --data-dir FOLDER`: one per data folder, started by the first client that needs it.

Writes one line to standard output: empty when it listens or another already does; a `Problem` when it cannot.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import logging
import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from covalab import config, open_files
from covalab._version import __version__
from covalab.client import paths
from covalab.client.launcher import Address
from covalab.core.errors import ConfigError, CovalabError
from covalab.core.model import Problem
from covalab.crash_points import crash_point
from covalab.dispatcher.account_key import account_key
from covalab.dispatcher.http_api.routes import application
from covalab.dispatcher.http_api.server import Server
from covalab.dispatcher.service import Service
from covalab.dispatcher.trust import open_folder
from covalab.store import Store

_log = logging.getLogger("covalab.dispatcher")
_LOCK_SECONDS: Final = 1.0
_IDLE_SECONDS: Final = 900.0
_LOG_LIMIT: Final = 10 * 1024 * 1024


def _lock(folder: Path) -> BinaryIO | None:
    """Take the lock of a data folder, or None when another dispatcher has it.

    A client that looks for a dispatcher has the lock for a moment, so one refusal proves nothing.
    """
    file = open(folder / "lock", "ab")  # noqa: SIM115, PTH123 - held until the process ends
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                file.close()
                return None
            time.sleep(0.02)
        else:
            return file


def rotate(log: Path, limit: int) -> None:
    """Move a log that has grown beyond a limit to a second file, in place of what was there.

    It is copied and emptied: this process and its pools have it open, to append to it.
    """
    with suppress(OSError):
        if log.stat().st_size > limit:
            older = log.with_suffix(".log.1")
            older.unlink(missing_ok=True)
            older.touch(mode=0o600)
            shutil.copyfile(log, older)
            os.truncate(log, 0)


def _idle_seconds() -> float:
    text = os.environ.get("COVALAB_IDLE_SECONDS", "")
    try:
        return max(0.1, float(text)) if text else _IDLE_SECONDS
    except ValueError:
        _log.warning("COVALAB_IDLE_SECONDS is %r, not a number of seconds; using %g", text, _IDLE_SECONDS)
        return _IDLE_SECONDS


def _log_level() -> int:
    try:
        return logging.getLevelName((config.sdk().log_level or "info").upper())  # type: ignore[no-any-return]
    except ConfigError:  # a client that needs the setting raises it; the dispatcher does without
        return logging.INFO


def _report(data: bytes) -> None:
    """Send one line to the process that started us, and close its pipe, at whose end it waits."""
    with suppress(OSError):
        os.write(1, data + b"\n")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


async def _serve(folder: Path, idle_seconds: float) -> None:
    store = Store(folder / "covalab.db", account_key())
    await open_folder(folder, store)
    sockets = paths.ensure_private(paths.socket_folder(folder))
    for left in (*sockets.glob("*.sock"), *sockets.glob("*.workers")):
        left.unlink(missing_ok=True)
    shutil.rmtree(paths.spool_folder(folder), ignore_errors=True)
    service = Service(folder, store)
    stop = service.over
    loop = asyncio.get_running_loop()
    open_files.handle_in(loop, _log)
    # The next start makes the database anew from what is whole.
    store.on_damage = lambda: loop.call_soon_threadsafe(stop.set)
    server = Server(application(service, stop))
    path = sockets / "dispatcher.sock"
    await service.recover()
    server.listen_at(str(path))
    address = Address(str(path), os.getpid(), store.epoch, __version__)
    temporary = paths.address_file(folder).with_suffix(f".{os.getpid()}")
    temporary.touch(mode=0o600)
    temporary.write_bytes(msgspec.json.encode(address))
    crash_point("dispatcher.ready")
    temporary.replace(paths.address_file(folder))
    crash_point("dispatcher.published")
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    _log.info("dispatcher %s (epoch %d) serves %s", __version__, store.epoch, folder)
    _report(b"")
    while not stop.is_set():
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(stop.wait(), min(5.0, idle_seconds))
        await service.check_epoch()
        rotate(paths.log_file(folder), _LOG_LIMIT)
        idle = time.monotonic() - service.last_asked
        watching = service.attached or service.triggers.n_watching or service.schedules.n_waiting
        if not service.runs and not watching and idle > idle_seconds:
            _log.info("idle for %d s and no client attached: ending", idle)
            stop.set()  # so that who asks in the last moment is sent to the next one
    server.stop()
    if not service.taken_over:
        paths.address_file(folder).unlink(missing_ok=True)
    await service.stop()
    store.close()


def main() -> int:
    """Serve one data folder until a client stops it, or until it is idle and no client is attached."""
    parser = argparse.ArgumentParser(prog="python -m covalab.dispatcher", description=__doc__)
    parser.add_argument("--data-dir", required=True, type=Path)
    arguments = parser.parse_args()
    os.umask(0o077)
    open_files.raise_limit()
    folder: Path = arguments.data_dir
    logging.basicConfig(level=_log_level(), format="%(asctime)s %(name)s %(levelname)s %(message)s")
    try:
        paths.ensure_private(folder)
        lock = _lock(folder)
        if lock is None:
            _report(b"")
            return 0
        crash_point("dispatcher.locked")
        # One that a killed dispatcher left would send clients to a socket at which nothing listens.
        paths.address_file(folder).unlink(missing_ok=True)
        rotate(paths.log_file(folder), _LOG_LIMIT)
        asyncio.run(_serve(folder, _idle_seconds()))
    except (CovalabError, OSError) as error:
        _log.exception("the dispatcher cannot serve %s", folder)
        kind = type(error).__name__ if isinstance(error, CovalabError) else "DataFolderError"
        what = str(error)
        if open_files.is_scarcity(error):
            what = f"the dispatcher cannot serve {folder}: {open_files.explain()}"
        _report(msgspec.json.encode(Problem(kind, what)))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
