"""Copy of a data folder that may be in use: one moment of the database, then the values that it names."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import apsw

from covalab.blobs import BlobStore
from covalab.client import paths
from covalab.core.errors import DataFolderError, ValueLost
from covalab.core.model import Digest
from covalab.store.pages import connect

_PAGES_AT_ONCE = 1_000


class Backup(NamedTuple):
    """Copied dispatches, number of blobs that are new in the copy, and those that could not be copied."""

    n_dispatches: int
    n_blobs: int
    missing: list[str]


def back_up(folder: Path, target: Path, progress: Callable[[int, int], None] = lambda _done, _all: None) -> Backup:
    """Copy the dispatches of a data folder to another, which can be used as one; blobs that are there already stay.

    Parameters
    ----------
    folder
        The data folder.
    target
        The folder of the copy: new, or an earlier copy.
    progress
        Called with the number of blobs that were looked at, and of all.

    Raises
    ------
    DataFolderError
        If there is no database, or the target cannot be written or is in use.
    """
    database = folder / "covalab.db"
    if not database.exists():
        message = f"there is nothing to back up in {folder}"
        raise DataFolderError(message)
    paths.ensure_private(target)
    if (target / "lock").exists():
        message = f"{target} is a data folder that is used, or was; back up to a folder of its own"
        raise DataFolderError(message)
    copy = target / "covalab.db.new"
    try:
        digests, n_dispatches = _copy_database(database, copy)
        (target / "covalab.db").unlink(missing_ok=True)
        copy.replace(target / "covalab.db")
    except (apsw.Error, OSError) as error:
        message = f"cannot back up {database} to {target}: {error}; free some space there, or `covalab doctor`"
        raise DataFolderError(message) from error
    there, here = BlobStore(paths.blob_folder(target)), BlobStore(paths.blob_folder(folder))
    n_new = 0
    missing: list[str] = []
    for number, digest in enumerate(digests):
        progress(number, len(digests))
        if digest not in there:
            try:
                _copy_blob(here, there, digest)
                n_new += 1
            except (ValueLost, OSError):
                missing.append(digest)
    return Backup(n_dispatches, n_new, missing)


def _copy_database(database: Path, copy: Path) -> tuple[list[Digest], int]:
    source = connect(database, read_only=True)
    source.set_busy_timeout(30_000)
    copy.unlink(missing_ok=True)
    target = connect(copy)
    try:
        with target.backup("main", source, "main") as steps:
            while not steps.done:
                steps.step(_PAGES_AT_ONCE)
        digests = [Digest(digest) for (digest,) in target.execute("SELECT DISTINCT digest FROM blob_uses")]
        (n_dispatches,) = target.execute("SELECT count(*) FROM dispatches").fetchone() or (0,)
        target.pragma("journal_mode", "delete")  # one file
    finally:
        target.close()
        source.close()
    copy.chmod(0o600)
    fd = os.open(copy, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)
    return digests, int(n_dispatches)


def _copy_blob(here: BlobStore, there: BlobStore, digest: Digest) -> None:
    here.read(digest)  # compares it with its digest
    path = there.path(digest)
    for parent in (there.folder, path.parent):  # the mode is not for parents
        parent.mkdir(mode=0o700, exist_ok=True)
    temporary = path.with_name(f".{digest}.backup")
    shutil.copyfile(here.path(digest), temporary)
    temporary.chmod(0o600)
    temporary.replace(path)
