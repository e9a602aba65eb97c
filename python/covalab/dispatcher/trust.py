"""Trust: which dispatches of a data folder this account wrote itself, and may be opened.

A dispatch is looked at once in the life of a dispatcher, when values of it are asked for first or its code is to run.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import apsw

from covalab.core.errors import MissingLatticeRecordError, NotTrusted
from covalab.core.model import DispatchId
from covalab.store import Store, dispatch_rows, seals

_log = logging.getLogger("covalab.dispatcher")

_CACHES: Final = ("reuse", "packages", "previews")
"""Parts of a data folder that hold code or values without a seal, and can be made again."""
_MARK: Final = "account"
_AT_ONCE: Final = 200


class Trust:
    """Dispatches of a data folder that are known to be this account's own.

    Parameters
    ----------
    folder
        The data folder.
    store
        Its database. Without a key, everything in it is taken as this account's own.
    """

    def __init__(self, folder: Path, store: Store) -> None:
        self._folder = folder
        self._store = store
        self._seal = None if store.key is None else seals.sealer(store.key)
        self._own: set[DispatchId] = set()
        self.waiting: set[DispatchId] = set()
        """Dispatches that have not ended, and do not go on before they are trusted."""

    def add(self, dispatch: DispatchId) -> None:
        """Take a dispatch as own: it is recorded by this process."""
        if self._seal is not None:
            self._own.add(dispatch)

    def forget(self, dispatch: DispatchId) -> None:
        """Forget a dispatch that is deleted."""
        self._own.discard(dispatch)
        self.waiting.discard(dispatch)

    async def check(self, dispatch: DispatchId) -> None:
        """Check that a dispatch may be opened.

        Raises
        ------
        NotTrusted
            If somebody else wrote it, or changed it.
        MissingLatticeRecordError
            If there is no such dispatch.
        """
        if not await self.is_own(dispatch):
            message = (
                f"dispatch {dispatch} in {self._folder} was not written by your account, or was changed since. To open "
                "its values, or to run it, runs whatever code is in them. If you trust where it comes from: "
                f"`covalab trust {dispatch}`, ct.get_result({dispatch!r}, trusted=True), or `covalab trust` for all "
                "dispatches of this folder"
            )
            raise NotTrusted(message)

    async def is_own(self, dispatch: DispatchId) -> bool:
        """Whether this account wrote a dispatch; raises `MissingLatticeRecordError`."""
        seal = self._seal
        if seal is None or dispatch in self._own:
            return True

        def job(db: apsw.Connection) -> bool:
            found = dispatch_rows.select_dispatch(db, dispatch)
            if found is None:
                raise MissingLatticeRecordError(dispatch, str(self._folder))
            return seals.is_own(db, found[0], seal, seals.adopted(db, self._folder, seal))

        if await self._store.read(job):
            self._own.add(dispatch)
            return True
        return False

    async def trust(self, dispatch: DispatchId | None) -> list[DispatchId]:
        """Seal a dispatch and all that belong together with it (None: all dispatches), whoever wrote them.

        Returns
        -------
        list of DispatchId
            Those that were not trusted before.

        Raises
        ------
        MissingLatticeRecordError
            If there is no such dispatch.
        """
        changed: list[DispatchId] = []
        after = 0
        while True:
            found = await self._store.read(
                lambda db: (
                    seals.select_all(db, after, _AT_ONCE) if dispatch is None else seals.select_below(db, dispatch)  # noqa: B023 - it is awaited here
                )
            )
            if dispatch is not None and not found:
                raise MissingLatticeRecordError(dispatch, str(self._folder))
            new = [(key, it) for key, it in found if not await self.is_own(it)]
            await self._store.write(lambda db: _seal_all(db, new), [it for _, it in new])  # noqa: B023 - it is awaited here
            self._own.update(it for _, it in new)
            self.waiting.difference_update(it for _, it in new)
            changed += [it for _, it in new]
            if dispatch is not None or len(found) < _AT_ONCE:
                return changed
            after = found[-1][0]


def _seal_all(connection: apsw.Connection, dispatches: Sequence[tuple[int, DispatchId]]) -> None:
    for key, _ in dispatches:
        seals.seal_dispatch(connection, key)


async def open_folder(folder: Path, store: Store) -> None:
    """Look at who has used a data folder, before anything in it is used.

    What was recorded before there were seals belongs to the owner of the files: what an earlier version stored opens.
    """
    if store.key is None:
        return
    seal = seals.sealer(store.key)
    mark, file = seals.mark_of(folder, seal), folder / _MARK
    with suppress(OSError):
        if file.read_bytes() == mark:
            return
    is_owner = all(path.stat().st_uid == os.getuid() for path in (folder, store.path))
    if await store.read(seals.unsealed) and is_owner:
        await store.write(lambda db: seals.adopt(db, folder))
        _log.info("what is in %s was recorded before there were seals; it is taken as this account's own", folder)
    else:
        for name in _CACHES:
            if (folder / name).exists():
                _log.warning(
                    "%s was made by another account, or elsewhere; it is removed and made again", folder / name
                )
                shutil.rmtree(folder / name, ignore_errors=True)
    file.unlink(missing_ok=True)
    file.touch(mode=0o600)
    file.write_bytes(mark or b"")
