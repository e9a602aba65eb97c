"""Removing blobs that nothing uses, without taking away what somebody is about to use."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Final

from covalab.blobs import BlobStore
from covalab.core.model import Digest
from covalab.reuse_index import ReuseIndex
from covalab.store import Store, dispatch_rows

_log = logging.getLogger("covalab.dispatcher")
_REST: Final = 600.0
"""A blob that nothing uses is kept this long after somebody wrote or reused it: its submission may be on its way."""


class BlobCollector:
    """Removes blobs.

    Parameters
    ----------
    store, blobs
        Who uses what, and what there is.
    in_background
        Runs what nobody waits for.
    """

    def __init__(
        self, store: Store, blobs: BlobStore, in_background: Callable[[Coroutine[Any, Any, None]], None]
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._in_background = in_background

    async def remove(self, digests: list[Digest], *, again: bool = True) -> None:
        """Remove blobs that nothing uses; those that somebody may be about to send again have another chance."""
        unused = await self._store.read(lambda connection: dispatch_rows.select_unused(connection, digests))
        too_young: list[Digest] = []

        def remove() -> None:
            for digest in unused:
                with suppress(OSError):
                    if not self._blobs.remove(digest, unused_for=_REST):
                        too_young.append(digest)

        await asyncio.to_thread(remove)
        if too_young and again:
            loop = asyncio.get_running_loop()
            loop.call_later(_REST, lambda: self._in_background(self.remove(too_young, again=False)))

    async def remove_orphans(self) -> None:
        """Remove what nobody will ever ask for: written for submissions that never came, or by writers that died."""
        try:
            there = await asyncio.to_thread(lambda: list(self._blobs.digests()))
            await self.remove(there, again=False)
            await asyncio.to_thread(self._blobs.remove_unfinished, _REST)
            await asyncio.to_thread(ReuseIndex.beside(self._blobs.folder).tidy)
        except Exception:  # noqa: BLE001 - a folder that cannot be tidied up serves as well
            _log.exception("cannot tidy up %s", self._blobs.folder)
