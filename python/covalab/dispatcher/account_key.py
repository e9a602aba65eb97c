"""Key of this account: a file outside of all data folders, by which rows are sealed that this account writes."""

from __future__ import annotations

import logging
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

from covalab.config import jupyter_folder
from covalab.core.errors import DataFolderError

_log = logging.getLogger("covalab.dispatcher")
_BYTES: Final = 32


def key_file() -> Path:
    """Return the file of the key: `COVALAB_KEY_FILE`, else `covalab.key` in the Jupyter configuration directory."""
    chosen = os.environ.get("COVALAB_KEY_FILE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    return jupyter_folder().absolute() / "covalab.key"


def account_key() -> bytes | None:
    """Return the key of this account; the first call makes it. None: no key can be kept here.

    Raises
    ------
    DataFolderError
        If there is one that cannot be read, or is none.
    """
    path = key_file()
    try:
        return _read(path)
    except FileNotFoundError:
        pass
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make(path)
    except OSError as error:
        # Without a home that can be written nothing would work otherwise.
        _log.warning("no key can be kept in %s (%s); all that is in the data folder is trusted", path, error.strerror)
        return None
    return _read(path)


def _read(path: Path) -> bytes:
    try:
        key = bytes.fromhex(path.read_text("ascii").strip())
        status = path.stat()
        if status.st_mode & 0o077 and status.st_uid == os.getuid():
            path.chmod(0o600)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        message = (
            f"the key in {path} cannot be read ({error}); put it right, or name another file with COVALAB_KEY_FILE"
        )
        raise DataFolderError(message) from error
    if len(key) != _BYTES:
        message = (
            f"the key in {path} is damaged; remove it, and `covalab trust` takes what was recorded with it as yours"
        )
        raise DataFolderError(message)
    return key


def _make(path: Path) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    fd = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(fd, "w") as file:
            file.write(secrets.token_hex(_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):  # another dispatcher was faster
            os.link(temporary, path)
    finally:
        temporary.unlink()
