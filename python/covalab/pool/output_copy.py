"""Copy of output: what tasks print on hosts without the data folder, in its spool, while they run.

The dispatcher reads it there as it reads that of any task. Nothing is asked while no task runs for long.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from covalab.pool import host_calls
from covalab.pool.host_calls import PIECE_BYTES, SUFFIXES, Printed, Read
from covalab.pool.route import NoAnswer, Route

_log = logging.getLogger("covalab.pool")
_SECONDS: Final = 0.2
_KEPT_SECONDS: Final = 30.0
"""The time that a copy stays after its end: the dispatcher reads it when it hears of a loss."""
_LAST_SECONDS: Final = 5.0


class _Copy:
    """The files of one running node."""

    def __init__(self, route: Route, stem: str, paths: list[Path]) -> None:
        self.route = route
        self.stem = stem
        self.paths = paths
        self.positions = [0] * len(SUFFIXES)
        self.ended_at: float | None = None

    def take(self, printed: Printed) -> bool:
        """Write what is new; return whether more of what is displayed is to come: of a flood of text, the next time."""
        has_more = False
        for number, (path, (at, data)) in enumerate(zip(self.paths, printed.pieces, strict=True)):
            if not data and at == self.positions[number]:
                continue
            has_more |= number == len(SUFFIXES) - 1 and len(data) == PIECE_BYTES
            fd = os.open(path, os.O_CREAT | os.O_WRONLY, 0o600)
            try:
                if at < self.positions[number]:
                    os.ftruncate(fd, at)
                os.pwrite(fd, data, at)
            finally:
                os.close(fd)
            self.positions[number] = at + len(data)
        return has_more


class OutputCopy:
    """Copier of the output of running tasks.

    Parameters
    ----------
    spool
        The folder of the copies.
    spawn
        Runs a coroutine in the background.
    """

    def __init__(self, spool: Path, spawn: Callable[[Coroutine[Any, Any, None]], None]) -> None:
        self._spool = spool
        self._spawn = spawn
        self._copies: dict[str, _Copy] = {}
        self._is_running = False

    def begin(self, route: Route, stem: str, name: str) -> None:
        """Copy the output of a node that began, from its beginning, under another name."""
        paths = [self._spool / Path(f"{name}{suffix}").name for suffix in SUFFIXES]
        self._spool.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in paths:
            path.unlink(missing_ok=True)
        self._copies[name] = _Copy(route, stem, paths)
        if not self._is_running:
            self._is_running = True
            self._spawn(self._run())

    def end(self, name: str) -> None:
        """Copy no more; the copy is removed later."""
        copy = self._copies.get(name)
        if copy is not None and copy.ended_at is None:
            copy.ended_at = time.monotonic()

    async def copy_last(self, name: str) -> None:
        """Copy what was printed last, by a process that is gone; its worker has the files for some time."""
        copy = self._copies.get(name)
        if copy is not None:
            with suppress(OSError, TimeoutError, NoAnswer, RuntimeError):
                await asyncio.wait_for(self._copy(copy.route, [copy]), _LAST_SECONDS)

    async def _run(self) -> None:
        try:
            while self._copies:
                await asyncio.sleep(_SECONDS)
                self._expire()
                routes: dict[Route, list[_Copy]] = {}
                for copy in self._copies.values():
                    if copy.ended_at is None and copy.route.is_open:
                        routes.setdefault(copy.route, []).append(copy)
                await asyncio.gather(*(self._try(route, copies) for route, copies in routes.items()))
        finally:
            self._is_running = False

    async def _try(self, route: Route, copies: list[_Copy]) -> None:
        try:
            await asyncio.wait_for(self._copy(route, copies), _LAST_SECONDS)
        except (OSError, TimeoutError, NoAnswer, RuntimeError) as error:
            _log.info("output is not copied: %s: %s", type(error).__name__, error)

    async def _copy(self, route: Route, copies: list[_Copy]) -> None:
        waiting = list(copies)
        while waiting:
            known = [Read(copy.stem, copy.positions) for copy in waiting]
            answer = await route.call(host_calls.read_output, msgspec.msgpack.encode(known))
            found: list[Printed] = msgspec.msgpack.decode(answer, type=list[Printed])
            waiting = [copy for copy, printed in zip(waiting, found, strict=False) if copy.take(printed)]

    def _expire(self) -> None:
        now = time.monotonic()
        for name, copy in list(self._copies.items()):
            if copy.ended_at is not None and now - copy.ended_at > _KEPT_SECONDS:
                for path in copy.paths:
                    path.unlink(missing_ok=True)
                del self._copies[name]
