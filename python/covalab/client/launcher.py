"""Launcher: finds the dispatcher of a data folder, or starts one.

The dispatcher is a process of its own, detached from its parent: it outlives kernels and servers.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from covalab.carrier import carriers
from covalab.client import paths
from covalab.core import errors
from covalab.core.model import Problem

_NOT_INHERITED: Final = (
    "JPY_PARENT_PID",  # children that have it end with the Jupyter server; a dispatcher must not
    "MPLBACKEND",
    *("COVALAB_URL", "COVALAB_TOKEN", "COVALAB_CA_FILE"),  # its tasks use this dispatcher, and no token is in files
)
_KILLS_ALLOWED: Final = 1
_START_LIMIT: Final = 60.0  # seconds; a cold disk and two busy cores can take ten


class Address(msgspec.Struct, frozen=True):
    """Address of a dispatcher, as it wrote into `dispatcher.json`."""

    socket: str
    pid: int
    epoch: int
    version: str


def find(folder: Path) -> Address | None:
    """Return the address of the running dispatcher of a data folder, or None.

    The lock decides, not the file: a dispatcher that was killed leaves its file behind but not its lock.
    """
    try:
        address = msgspec.json.decode(paths.address_file(folder).read_bytes(), type=Address)
        with (folder / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return None  # no process holds it
    except BlockingIOError:
        return address
    except (OSError, msgspec.MsgspecError):
        return None


def remove_address(folder: Path, address: Address) -> None:
    """Remove the file that a killed dispatcher left, unless another one has started."""
    with suppress(OSError, msgspec.MsgspecError), (folder / "lock").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # no other can start before this is closed
        left = msgspec.json.decode(paths.address_file(folder).read_bytes(), type=Address)
        if left.epoch == address.epoch:
            paths.address_file(folder).unlink()


def start_dispatcher(folder: Path) -> Address:
    """Start a dispatcher for a data folder and return its address when it listens.

    Several callers may start one at once: the lock lets one through and the others find it. One that is just ending is
    replaced after its end.

    Raises
    ------
    DataFolderError
        If the data folder cannot be used.
    DispatcherUnavailable
        If it did not come up; the message names the log.
    """
    if carriers:  # it would serve an empty folder under the same path, and nobody would see its dispatches
        message = (
            f"this task runs on {os.uname().nodename}, which does not see the data folder {folder}, and cannot reach "
            "its dispatcher; dispatch outside of tasks or on executor='local', or share the folder with that host"
        )
        raise errors.DispatcherUnavailable(message)
    paths.ensure_private(folder)
    deadline = time.monotonic() + _START_LIMIT
    n_killed, code = 0, 0
    # One that is killed while it starts says nothing of the next one. One that ends by itself does, or is killed again.
    while code == 0 and n_killed <= _KILLS_ALLOWED and time.monotonic() < deadline:
        # Another dispatcher may hold the lock: one that comes up will be found, one that ends releases it.
        if not _is_locked(folder):
            code = _spawn(folder)
            if code < 0:
                n_killed, code = n_killed + 1, 0
        address = find(folder)
        if address is not None:
            return address
        time.sleep(0.02)
    message = f"the dispatcher of {folder} did not come up; {paths.log_file(folder)} says why"
    raise errors.DispatcherUnavailable(message)


def _is_locked(folder: Path) -> bool:
    try:
        with (folder / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _spawn(folder: Path) -> int:
    """Start a process. Return 0 when it listens or has found another running, its exit code if it died without a word.

    The exit code of one that was killed is the negative number of the signal.
    """
    log = paths.log_file(folder)
    try:
        log.parent.mkdir(mode=0o700, exist_ok=True)
        out = os.fdopen(os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600), "ab")
    except OSError as error:
        message = f"cannot write {log}: {error.strerror}; free some space, or set COVALAB_DATA_DIR to another folder"
        raise errors.DataFolderError(message) from error
    environment = {key: value for key, value in os.environ.items() if key not in _NOT_INHERITED}
    command = [sys.executable, "-m", "covalab.dispatcher", "--data-dir", str(folder)]
    with out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=out,
            start_new_session=True,
            cwd=folder,
            env=environment,
        )
    # If it ends before this process does, it must be waited for, or it would stay behind as a zombie.
    reaper = threading.Thread(target=process.wait, name="covalab-dispatcher-reaper", daemon=True)
    reaper.start()
    assert process.stdout is not None
    with process.stdout:
        line = process.stdout.readline()  # one line when it listens, or has given up
    if line.startswith(b"{"):
        problem = msgspec.json.decode(line, type=Problem)
        reaper.join()
        raise errors.error_of(problem.kind, problem.message)
    if line:
        return 0
    reaper.join()
    return process.returncode or 1
