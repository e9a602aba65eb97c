"""Lost values: a recorded value that cannot be read any more is made again, by running its node once more.

The node that needed it finds out: its worker compares what it reads with the digest, or finds nothing. What cannot be
made again (an argument of the dispatch, a person's answer) ends that node with type "storage".
"""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Final

import msgspec

from covalab.blobs import BlobStore
from covalab.core import batching
from covalab.core.checks import is_whole
from covalab.core.errors import DataFolderError
from covalab.core.lifecycle import TERMINAL
from covalab.core.model import WAITING_KINDS, Failure, NodeKind, Outcome, Value
from covalab.dispatcher.background import Background
from covalab.dispatcher.registry import Registry
from covalab.dispatcher.running import RunningDispatch
from covalab.store import dispatch_rows

_log = logging.getLogger("covalab.dispatcher")

_TIMES: Final = 3
"""How often a value is made again: a disk that spoils it each time must not keep a dispatch busy for ever."""

_LOOKS: Final = 20
_LOOK_SECONDS: Final = 0.25
"""How often, and in which intervals, values are looked for that may still be on their way to the disk."""


def is_there(value: Value | None, blobs: BlobStore) -> bool:
    """Whether a recorded value can be read, as far as its length shows; bytes beside it are compared."""
    return value is not None and is_whole(value) and (value.digest is None or blobs.has(value))


def missing_blob(outcome: Outcome, blobs: BlobStore) -> Outcome | None:
    """Return an outcome as a failure if its value is a file that is not there, else None."""
    value = outcome.value
    if value is None or value.digest is None or blobs.has(value):
        return None
    where = f"worker {outcome.worker}" if outcome.worker else "the worker"
    message = (
        f"{where} completed node {outcome.node}, and its value of {value.size:,} bytes ({value.digest[:12]}…) "
        f"is not in {blobs.folder}; its disk may be full, or it is another folder there: `covalab logs` may say more"
    )
    return msgspec.structs.replace(
        outcome, status="failed", value=None, failure=Failure("storage", message), stderr=f"{outcome.stderr}{message}\n"
    )


class LostValues:
    """Makes lost values of running dispatches again.

    Parameters
    ----------
    registry
        The dispatches.
    background
        Runs what no request waits for.
    """

    def __init__(self, registry: Registry, background: Background) -> None:
        self._registry = registry
        self.blobs = registry.blobs
        self._background = background

    def take(self, run: RunningDispatch, outcome: Outcome) -> Outcome | None:
        """Take an outcome that failed because of a lost value. Returns it if nothing can be made again."""
        failure = outcome.failure
        if failure is None or failure.type != "storage" or run.progress.status[outcome.node] in TERMINAL:
            return outcome
        progress = run.progress
        lost = [
            source
            for source in progress.sources_with_values(outcome.node)
            if (value := progress.outputs.get(source)) is not None
            and (value.digest in failure.damaged or not is_whole(value))
        ]
        if not lost:
            return _told(run, outcome)
        for node in lost:
            times = run.made_again[node] = run.made_again.get(node, 0) + 1
            if times > _TIMES or not _can_run_again(run, node):
                return _told(run, outcome, lost)
        _log.warning("of dispatch %s, the values of nodes %s are lost; they are made again", run.id, lost)
        self._background.start(self._make_again(run, outcome, lost))
        return None

    async def _make_again(self, run: RunningDispatch, outcome: Outcome, lost: list[int]) -> None:
        progress = run.progress
        needed = {source for node in lost for source in progress.sources_with_values(node)}
        values: dict[int, Value] = {}
        for _ in range(_LOOKS):  # an outcome may be on its way to the disk
            values = {node: progress.outputs[node] for node in needed if node in progress.outputs}
            missing = [node for node in needed if node not in values]
            try:
                values |= await self._registry.store.read(
                    partial(dispatch_rows.select_values, key=run.key, nodes=missing)
                )
            except DataFolderError as error:
                _log.error("%s; trying again in %g s", error, _LOOK_SECONDS)
            if len(values) == len(needed):
                break
            await asyncio.sleep(_LOOK_SECONDS)
        if progress.status[outcome.node] in TERMINAL:
            return  # it was cancelled meanwhile
        if len(values) < len(needed):
            run.made_again.update(dict.fromkeys(lost, _TIMES))
            run.inbox.append(outcome)
        else:
            for node in lost:
                run.children.pop(node, None)
            progress.make_again(lost, values)
            progress.return_to_queue([outcome.node])
        self._registry.mark_changed(run)


def _can_run_again(run: RunningDispatch, node: int) -> bool:
    kind = run.graph.nodes[node].kind
    # What another cell of the session changed since would be missing in what one cell made again.
    return kind not in WAITING_KINDS and not batching.settings_of(run.graph, node).session


def _told(run: RunningDispatch, outcome: Outcome, lost: list[int] | None = None) -> Outcome:
    """Return an outcome whose failure says of which dispatch the value is, and what it is of that."""
    failure = outcome.failure
    assert failure is not None
    nodes = run.graph.nodes
    if lost:
        of = ", ".join(f"the value of node {node} ({nodes[node].name})" for node in lost)
        what = f"{of} of dispatch {run.id} is damaged and cannot be made again"
    elif failure.damaged:
        arguments = [
            it.name
            for it in nodes
            if it.kind is NodeKind.PARAMETER and run.submission.values[it.value].digest in failure.damaged
        ]
        of = f"its argument {arguments[0]}" if arguments else f"what node {outcome.node} needs"
        what = f"of dispatch {run.id}, {of} is damaged: dispatch it again from its source"
    else:
        return outcome
    message = f"{what} ({failure.message})"
    told = msgspec.structs.replace(failure, message=message, traceback=f"StorageError: {message}\n")
    stderr = outcome.stderr.removesuffix(failure.traceback) + told.traceback
    return msgspec.structs.replace(outcome, failure=told, stderr=stderr)
