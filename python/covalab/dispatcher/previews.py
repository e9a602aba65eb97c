"""Previews of values: made by a process of the dispatch's environment, and kept in the data folder by digest.

Nothing is opened here. A process that takes too long, or dies, is replaced, and the answer has the reason.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
from blake3 import blake3

from covalab.client.framing import read_frame, write_frame
from covalab.core import batching, protocol
from covalab.core.assemble import ByNode, sources_of
from covalab.core.lifecycle import TERMINAL
from covalab.core.model import Edge, NodeKind, Submission, Value
from covalab.core.placement import pool_key
from covalab.core.previews import Preview, PreviewQuery, PreviewRequest
from covalab.core.protocol import Batch
from covalab.dispatcher.child_process import ChildProcess
from covalab.dispatcher.interpreters import Interpreter, InterpreterNotFound, interpreter_of
from covalab.dispatcher.readable import ReadableDispatch

_log = logging.getLogger("covalab.previews")

TIME_LIMIT: Final = 20.0
"""Seconds until the process that makes a preview is ended."""

SIZE_LIMIT: Final = 1024**3
"""Encoded bytes up to which a value is opened for a preview."""

_IDLE_SECONDS: Final = 60.0
_MOST_PROCESSES: Final = 2
_MOST_SOURCES: Final = 1_000
_KEPT_BYTES: Final = 64 * 1024**2
_TIDY_EVERY: Final = 50
_VERSION: Final = b"1"
"""Part of each key: another number, and no preview of before is found."""


class PreviewMaker:
    """Process that makes the previews of one environment, one after the other."""

    def __init__(self, interpreter: Interpreter, data_dir: Path) -> None:
        self.interpreter = interpreter
        self._folder = data_dir
        self._process = ChildProcess("preview process", data_dir / "logs" / f"previews-{secrets.token_hex(3)}.log")
        self._lock = asyncio.Lock()
        self._runs = False
        self._idle: asyncio.TimerHandle | None = None

    async def make(self, request: PreviewRequest) -> tuple[bytes, bool]:
        """Return a preview in JSON, and whether it would be the same the next time."""
        async with self._lock:
            if self._idle is not None:
                self._idle.cancel()
            try:
                return await asyncio.wait_for(self._ask(request), TIME_LIMIT)
            except asyncio.TimeoutError:
                self.end()
                return _reason(request, f"opening or showing it takes longer than {TIME_LIMIT:g} s"), False
            except BaseException:  # the reader has gone: an answer to nobody must not meet the next question
                self.end()
                raise
            finally:
                self._idle = asyncio.get_running_loop().call_later(_IDLE_SECONDS, self.end)

    async def _ask(self, request: PreviewRequest) -> tuple[bytes, bool]:
        frame = None
        try:
            if not self._runs:
                await self._start()
            reader, writer = self._process.pipes
            write_frame(writer, protocol.encoder().encode(request))
            with suppress(ConnectionError):
                await writer.drain()
            frame = await read_frame(reader)
        except OSError as error:
            self.end()
            return _reason(request, f"cannot start {self.interpreter.python}: {error.strerror}"), False
        if frame is not None:
            return frame, True
        await self._process.wait(timeout=1.0)
        last = self._process.last_line()
        self.end()
        return _reason(request, f"the process that opened it ended: {last}"), False

    async def _start(self) -> None:
        command = [self.interpreter.python, "-m", "covalab.worker.previews.host"]
        await self._process.start(command, folder=self._folder, variables=self.interpreter.variables, has_pipes=True)
        self._runs = True

    def end(self) -> None:
        """End the process; the next preview starts another."""
        self._runs = False
        if self._idle is not None:
            self._idle.cancel()
        self._process.kill()
        with suppress(OSError):
            self._process.log.unlink()

    async def stop(self) -> None:
        """End the process for good."""
        self.end()
        await self._process.stop()


class Previews:
    """All previews of a dispatcher.

    Parameters
    ----------
    data_dir
        The data folder.
    blobs
        The blob folder.
    """

    def __init__(self, data_dir: Path, blobs: str) -> None:
        self._data_dir, self._blobs = data_dir, blobs
        self._folder = data_dir / "previews"
        self._makers: dict[str, PreviewMaker] = {}
        self._n_kept = 0

    async def preview(
        self, known: ReadableDispatch, number: int, values: dict[int, Value], query: PreviewQuery
    ) -> bytes:
        """Return the preview of a node's value in JSON; `values` are those of `sources(known, number)`."""
        request = _request(known, number, values, query, self._blobs)
        if sum(value.size for value in values.values()) > SIZE_LIMIT:
            return _reason(request, f"it is too large: values up to {SIZE_LIMIT // 1024**3} GB are opened to be shown")
        path = self._path(request)
        with suppress(OSError):
            return await asyncio.to_thread(path.read_bytes)
        settings = batching.settings_of(known.progress.graph, number)
        environment = known.submission.environment
        try:
            interpreter = await asyncio.to_thread(interpreter_of, pool_key(environment, settings), environment)
        except InterpreterNotFound as error:
            return _reason(request, str(error))
        made, is_lasting = await self._maker(interpreter, known.submission).make(request)
        if is_lasting and not msgspec.json.decode(made, type=Preview).why:
            await asyncio.to_thread(self._keep, path, made)
        return made

    def clear(self) -> None:
        """Forget all previews: the values of some are deleted."""
        self._end_all()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def stop(self) -> None:
        """End all processes."""
        await asyncio.gather(*(maker.stop() for maker in self._makers.values()))

    def _end_all(self) -> None:
        for maker in self._makers.values():
            maker.end()
        self._makers.clear()

    def _maker(self, interpreter: Interpreter, submission: Submission) -> PreviewMaker:
        """Return the process for a dispatch. One of its own, so that no value finds the modules of another."""
        key = f"{interpreter.python}:{submission.root or submission.id}"
        maker = self._makers.pop(key, None) or PreviewMaker(interpreter, self._data_dir)
        self._makers[key] = maker
        while len(self._makers) > _MOST_PROCESSES:
            self._makers.pop(next(iter(self._makers))).end()
        return maker

    def _path(self, request: PreviewRequest) -> Path:
        query = msgspec.json.encode(request.query)
        name = blake3(b"\0".join((_VERSION, request.key.encode(), query))).hexdigest()
        return self._folder / name[:2] / name

    def _keep(self, path: Path, made: bytes) -> None:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        with suppress(OSError):  # it can be made again
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary.write_bytes(made)
            temporary.chmod(0o600)
            temporary.rename(path)
            self._n_kept += 1
            if self._n_kept % _TIDY_EVERY == 1:
                self._tidy()

    def _tidy(self) -> None:
        """Remove the oldest previews beyond the size that is kept."""
        found = sorted(((each.stat(), each) for each in self._folder.glob("??/*")), key=lambda it: -it[0].st_mtime)
        total = 0
        for state, path in found:
            total += state.st_size
            if total > _KEPT_BYTES:
                path.unlink(missing_ok=True)


def sources(known: ReadableDispatch, number: int) -> list[int]:
    """Return the nodes whose values make up that of a node."""
    graph = known.progress.graph
    return sources_of([number], graph.nodes, known.progress.inputs)


def why_none(known: ReadableDispatch, number: int) -> str:
    """Return why a node has no value to show; empty if it has one."""
    needed = sources(known, number)
    if len(needed) > _MOST_SOURCES:
        return f"it consists of the values of {len(needed):,} nodes; {_MOST_SOURCES:,} are shown together at most"
    for source in needed:
        if known.progress.graph.nodes[source].kind is NodeKind.PARAMETER:
            continue
        status = known.committed_state(source).status
        if status != "completed":
            return "it has not been computed yet" if status not in TERMINAL else f"its task is {status}"
    return ""


def _request(
    known: ReadableDispatch, number: int, values: dict[int, Value], query: PreviewQuery, blobs: str
) -> PreviewRequest:
    graph, submission = known.progress.graph, known.submission
    inputs: ByNode[list[Edge]] = known.progress.inputs
    nodes, into = {}, {}
    waiting = [number]
    while waiting:  # the nodes between the value and those it is made of
        node = waiting.pop()
        if node in nodes:
            continue
        nodes[node] = graph.nodes[node]
        into[node] = [] if node in values else list(inputs[node])
        waiting += [edge.source for edge in into[node]]
    shape = msgspec.msgpack.encode((number, sorted(nodes.items()), sorted(into.items())))
    contents = [
        value.digest.encode() if value.digest else bytes(value.data or b"") for _, value in sorted(values.items())
    ]
    # A lone value is the same wherever it comes from.
    pieces = contents if list(nodes) == [number] else [shape, *contents]
    digest = blake3()
    for piece in pieces:
        digest.update(len(piece).to_bytes(8, "big") + piece)
    environment, modules = submission.environment, submission.local_modules
    batch = Batch(
        0,
        submission.id,
        [],
        {modules: submission.code[modules]} if modules in submission.code else {},
        0.0,
        environment.cwd,
        environment.path,
        blobs,
        "",
        root=submission.root or submission.id,
        prefix=environment.prefix,
        sys_path=environment.sys_path,
        umask=environment.umask,
        variables=submission.variables,
        local_modules=modules,
    )
    return PreviewRequest(digest.hexdigest(), number, nodes, into, values, query, batch)


def _reason(request: PreviewRequest, why: str) -> bytes:
    described = request.values.get(request.node)
    return msgspec.json.encode(Preview(described.type if described is not None else "", why=why))
