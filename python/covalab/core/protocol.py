"""What the parts of covalab say to each other about their versions, and the words on the wire to a pool.

Two parts understand each other when their `PROTOCOL` is the same; the version is for the message when it is not.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from covalab._version import __version__
from covalab.core.errors import VersionMismatch
from covalab.core.journal import Intervention
from covalab.core.model import Digest, Settings, Value
from covalab.core.placement import TaskPaths

PROTOCOL: Final = 4
"""Raise it when a struct on the wire changes its meaning or its shape."""

HEADER: Final = "Covalab-Version"
MSGPACK: Final = "application/msgpack"


def version_header() -> str:
    """Return what a part says about itself, e.g. ``"0.1.0 protocol 1"``."""
    return f"{__version__} protocol {PROTOCOL}"


def check_version(said: str, where: str, remedy: str) -> None:
    """Compare what another part said with what this one is.

    Raises
    ------
    VersionMismatch
        If the two do not speak the same protocol.
    """
    version, _, protocol = said.partition(" protocol ")
    if protocol != str(PROTOCOL):
        raise VersionMismatch(__version__, version or "of unknown version", where, remedy)


class Argument(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """Where one input of a task comes from: exactly one of the five.

    `value`: closed bytes or a blob. `shared`: one of `Batch.shared`. `node`: the output of an earlier task of the same
    batch. `items`: a list of arguments. `pairs`: a dict, given as two arguments (keys, values) that assemble to lists.
    """

    value: Value | None = None
    node: int = -1
    items: list[Argument] | None = None
    pairs: tuple[Argument, Argument] | None = None
    shared: int = -1


class TaskSpec(msgspec.Struct, frozen=True, array_like=True):
    """One node as a worker sees it. `after`: the tasks of the same batch that must have completed before it.

    `hooks` names what is done around it (`core.hooks.Hooks`), empty for nothing.
    """

    node: int
    name: str
    function: Digest
    args: list[Argument]
    kwargs: dict[str, Argument]
    after: list[int] = []
    hooks: Digest = Digest("")
    site: TaskPaths | None = None
    builds: bool = False  # a sublattice: what it makes is a `SublatticePlan`, not a value
    interventions: list[Intervention] | None = None  # those it sees


class Batch(msgspec.Struct, frozen=True):
    """Several nodes that travel together. After `budget` seconds the worker gives back those it has not begun."""

    id: int
    dispatch: str
    tasks: list[TaskSpec]
    code: dict[Digest, bytes]  # encoded functions and hooks; one that is missing is a blob
    budget: float
    cwd: str
    path: list[str]
    blobs: str  # the blob folder
    spool: str  # the folder for what running tasks print
    shared: list[Value] = []  # values that are not small, each once however many tasks use it
    packages: str = ""  # the folder for what tasks want to have installed
    executor: Settings | None = None  # for an executor host, whose batches have one task


class RunBatch(msgspec.Struct, frozen=True, tag="run_batch"):
    """Dispatcher to pool: run this batch (an encoded `Batch`, opaque to the pool) on that worker."""

    batch: int
    worker: str
    payload: bytes
    time_limit: float | None = None  # of the batch's only task


class CancelBatch(msgspec.Struct, frozen=True, tag="cancel_batch"):
    """Dispatcher to pool: stop these nodes of a batch (none: all); what has begun is interrupted, then killed."""

    batch: int
    nodes: list[int] = []


class StopPool(msgspec.Struct, frozen=True, tag="stop"):
    """Dispatcher to pool: end."""


class PoolReady(msgspec.Struct, frozen=True, tag="ready"):
    """Pool to dispatcher, once, when it is up."""

    version: str
    pid: int
    python: str


class WorkersChanged(msgspec.Struct, frozen=True, tag="workers"):
    """Pool to dispatcher: the workers there are now."""

    names: list[str]


class TaskStarted(msgspec.Struct, frozen=True, tag="task_started"):
    """Pool to dispatcher: a worker began a node of a batch."""

    batch: int
    node: int
    at: float
    pid: int
    spool: str  # the file stem under which the worker's output appears


class Outcomes(msgspec.Struct, frozen=True, tag="outcomes"):
    """Pool to dispatcher: nodes of a batch ended. `payload` is an encoded `list[Outcome]`, opaque to the pool."""

    batch: int
    payload: bytes


class TaskMessage(msgspec.Struct, frozen=True, tag="task_message"):
    """Pool to dispatcher: a running node has something to say. `payload` is an encoded `journal.Entry`, opaque too."""

    batch: int
    payload: bytes


class BatchEnded(msgspec.Struct, frozen=True, tag="batch_ended"):
    """Pool to dispatcher: nothing more will come of a batch. Nodes without outcome go back to the frontier.

    `lost` says that the worker died, `dropped` that the dispatcher asked for it, `timeout` that the task's time was up.
    """

    batch: int
    lost: str = ""
    timeout: bool = False
    trouble: str = ""  # the batch could not be run at all (e.g. covalab is missing there)


class PoolFailed(msgspec.Struct, frozen=True, tag="pool_failed"):
    """Pool to dispatcher: the pool cannot work, and why; it ends after this. `hopeless`: so would another."""

    message: str
    hopeless: bool = False


ToPool = RunBatch | CancelBatch | StopPool
FromPool = PoolReady | WorkersChanged | TaskStarted | Outcomes | TaskMessage | BatchEnded | PoolFailed


def encoder() -> msgspec.msgpack.Encoder:
    """Return an encoder of wire structs; one per thread."""
    return msgspec.msgpack.Encoder()


def decoder(type_: Any) -> msgspec.msgpack.Decoder[Any]:
    """Return a decoder of a wire struct; bad bytes raise `msgspec.ValidationError` or `msgspec.DecodeError`."""
    return msgspec.msgpack.Decoder(type_)
