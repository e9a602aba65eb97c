"""Paths of the data folder, and the check that it is private.

Everything covalab stores is under one private folder (mode 0700), by default `covalab` in the Jupyter data directory.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path
from typing import Final

from covalab.core.errors import DataFolderError

CACHES: Final = ("logs", "packages", "reuse")
"""The parts of the data folder that can be made again: logs, installed packages, and what is known of runs."""

KEPT: Final = (
    "covalab.db", "covalab.db-wal", "covalab.db-shm", "covalab.db-commits", "blobs", "results", "damaged",
)  # fmt: skip
"""The dispatches themselves, and the files that results were copied to."""

_SOCKET_PATH_LIMIT: Final = 103  # sun_path holds 108 bytes on Linux, 104 elsewhere
_LONGEST_SOCKET: Final = "host-12-1234567.workers"


def data_dir() -> Path:
    """Return the data folder: `COVALAB_DATA_DIR`, else `covalab` in the Jupyter data directory. Creates nothing.

    Raises
    ------
    DataFolderError
        If it is given relative to a current folder that was removed.
    """
    chosen = os.environ.get("COVALAB_DATA_DIR")
    if chosen:
        try:
            return Path(chosen).expanduser().absolute()
        except FileNotFoundError as error:
            message = f"COVALAB_DATA_DIR={chosen} is relative to a current folder that was removed; set a full path"
            raise DataFolderError(message) from error
    return default_data_dir()


def default_data_dir() -> Path:
    """Return the data folder that is used where none is chosen."""
    from jupyter_core.paths import jupyter_data_dir  # noqa: PLC0415 - 30 ms that a chosen folder does not need

    return Path(jupyter_data_dir()).absolute() / "covalab"


def ensure_private(folder: Path) -> Path:
    """Create `folder` with mode 0700, or check that it is private.

    Raises
    ------
    DataFolderError
        If it cannot be created or written, belongs to another user, is a link, or others may write to it.
    """
    way_out = "choose another folder with COVALAB_DATA_DIR"
    try:
        # A folder above it that others may write to would let them put another in its place.
        for parent in [parent for parent in folder.parents if not parent.exists()][::-1]:
            parent.mkdir(mode=0o755, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError as error:
        message = f"cannot create the data folder {folder}: {error.strerror}; {way_out}"
        raise DataFolderError(message) from error
    if not stat.S_ISDIR(status.st_mode):
        message = f"the data folder {folder} is a link or a file, which somebody else could redirect; {way_out}"
        raise DataFolderError(message)
    if status.st_uid != os.getuid():
        message = f"the data folder {folder} belongs to user {status.st_uid}, not to you; {way_out}"
        raise DataFolderError(message)
    if status.st_mode & 0o022:
        message = f"others may write to the data folder {folder}; run `chmod 700 {folder}`, or {way_out}"
        raise DataFolderError(message)
    if status.st_mode & 0o077:
        folder.chmod(0o700)
    if not os.access(folder, os.W_OK | os.X_OK):
        message = f"the data folder {folder} is read-only; make it writable, or {way_out}"
        raise DataFolderError(message)
    return folder


def socket_folder(folder: Path) -> Path:
    """Return the folder for sockets: inside the data folder, or a short private path if that is too long."""
    inside = folder / "run"
    if len(os.fsencode(inside / _LONGEST_SOCKET)) <= _SOCKET_PATH_LIMIT:
        return inside
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
    return Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / f"covalab-{os.getuid()}-{name}"


def address_file(folder: Path) -> Path:
    """Return the private file through which a running dispatcher is found.

    It lies in the data folder, beside the lock, so that a process that meets the lock also finds its holder,
    whatever runtime folder either of them was started with.
    """
    return folder / "dispatcher.json"


def blob_folder(folder: Path) -> Path:
    """Return the folder of the values too large for a row."""
    return folder / "blobs"


def log_file(folder: Path) -> Path:
    """Return the dispatcher's log; the pools write there too."""
    return folder / "logs" / "dispatcher.log"


def spool_folder(folder: Path) -> Path:
    """Return the folder for the output of running tasks."""
    return folder / "spool"


def packages_folder(folder: Path) -> Path:
    """Return the folder for packages that tasks require."""
    return folder / "packages"
