"""Wire protocol: the version header of every request, and the messages between the dispatcher and a pool.

Two parts are compatible when their `PROTOCOL` is the same; the version is for the error message when it is not.
`BATCH_TRANSITIONS` and `POOL_TRANSITIONS` say which message may follow which; `python/docs/states.md` shows them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from covalab._version import __version__
from covalab.core.capacity import Capacity
from covalab.core.errors import VersionMismatch
from covalab.core.journal import Intervention
from covalab.core.model import Digest, DispatchId, NodeProgress, Settings, Value
from covalab.core.placement import TaskPaths

PROTOCOL: Final = 11
"""Raise it when a struct on the wire changes its meaning or its shape."""

HEADER: Final = "Covalab-Version"
MSGPACK: Final = "application/msgpack"


def version_header() -> str:
    """Return the version header of this part, e.g. ``"0.1.0 protocol 1"``."""
    return f"{__version__} protocol {PROTOCOL}"


def check_version(header: str, where: str, remedy: str) -> None:
    """Compare the version header of another part with this one.

    Raises
    ------
    VersionMismatch
        If the two have different protocols.
    """
    # A part from before there was a protocol number, or a stranger, has none, which is no match either.
    version, _, protocol = header.partition(" protocol ")
    if protocol != str(PROTOCOL):
        here, there = __version__, version or "of unknown version"
        if here == there:  # two states of one version
            here, there = f"{here} (protocol {PROTOCOL})", f"{there} (protocol {protocol or 'unknown'})"
        raise VersionMismatch(here, there, where, remedy)


# Arrays on the wire: a batch may have hundreds of tasks, and field names would be most of its bytes.
class Argument(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """Source of one input of a task: exactly one of the five.

    `value`: serialized bytes or a blob. `shared`: one of `Batch.shared`. `node`: the output of an earlier task of the
    same batch. `items`: a list of arguments. `pairs`: a dict, as two arguments (keys, values) that assemble to lists.
    """

    value: Value | None = None
    node: int = -1
    items: list[Argument] | None = None
    pairs: tuple[Argument, Argument] | None = None
    shared: int = -1


class TaskSpec(msgspec.Struct, frozen=True, array_like=True):
    """A node as sent to a worker. `after`: the tasks of the same batch that must have completed before it.

    `hooks` is the digest of the hooks around it (`core.hooks.Hooks`), empty for nothing.
    """

    node: int
    name: str
    function: Digest
    args: list[Argument]
    kwargs: dict[str, Argument]
    after: list[int] = []
    hooks: Digest = Digest("")
    paths: TaskPaths | None = None
    builds: bool = False  # a sublattice: it makes a `SublatticePlan`, not a value
    interventions: list[Intervention] | None = None  # those inserted before it started


class Batch(msgspec.Struct, frozen=True):
    """Tasks that are sent to a worker together. After `budget` seconds the worker returns those it has not started."""

    id: int
    dispatch: DispatchId
    tasks: list[TaskSpec]
    code: dict[Digest, bytes]  # encoded functions and hooks; one that is missing is a blob
    budget: float
    cwd: str
    path: list[str]
    blobs: str  # the blob folder
    spool: str  # the folder for the output of running tasks
    shared: list[Value] = []  # values that are not small, each once however many tasks use it
    packages: str = ""  # the folder for packages that tasks require
    executor: Settings | None = None  # for an executor host, whose batches have one task
    root: DispatchId = DispatchId("")  # the outermost dispatch: its tasks share processes
    prefix: str = ""  # `Environment.prefix`, and so on
    sys_path: list[str] = []
    umask: int = -1
    variables: bytes = b""  # `Submission.variables`, and so on
    local_modules: Digest = Digest("")  # in `code` or a blob
    session: bool = (
        False  # its nodes share a process with those of the dispatch's other such batches, and what is in it
    )
    is_carried: bool = False  # `blobs` is a cache: values travel to and from the data folder (`covalab.carrier`)

    def __repr__(self) -> str:
        return f"<batch {self.id} of {self.dispatch}>"  # without the variables


class RunBatch(msgspec.Struct, frozen=True, tag="run_batch"):
    """Dispatcher to pool: run a batch on a worker. `payload` is an encoded `Batch`, opaque to the pool."""

    batch: int
    worker: str
    payload: bytes
    time_limit: float | None = None  # of the batch's only task
    root: str = ""  # the outermost dispatch, whose tasks share processes; of a session `ROOT:DISPATCH`
    spool: str = ""
    resources: dict[str, float] = {}  # that it occupies at its worker
    cores: int = 1


class WorkWaits(msgspec.Struct, frozen=True, tag="work_waits"):
    """Dispatcher to pool: for how many cores there is work that waits for a worker. Sent when it changes."""

    cores: int


class DispatchesEnded(msgspec.Struct, frozen=True, tag="dispatches_ended"):
    """Dispatcher to pool: no more batches of these outermost dispatches come, so their processes may end."""

    roots: list[DispatchId]


class CancelBatch(msgspec.Struct, frozen=True, tag="cancel_batch"):
    """Dispatcher to pool: stop nodes of a batch (none named: all).

    A running task is interrupted; if it goes on, its process is killed. The batch still ends with `BatchEnded`.
    """

    batch: int
    nodes: list[int] = []


class ReturnUnstarted(msgspec.Struct, frozen=True, tag="return_unstarted"):
    """Dispatcher to pool: end a batch after the node that runs; those that have not begun have no outcome."""

    batch: int


class StopPool(msgspec.Struct, frozen=True, tag="stop"):
    """Dispatcher to pool: end, with all workers. Nothing is reported any more."""


class Ping(msgspec.Struct, frozen=True, tag="ping"):
    """Dispatcher to pool: answer with `Pong`. Sent while batches are there, and the next after the answer."""


class PoolReady(msgspec.Struct, frozen=True, tag="ready"):
    """Pool to dispatcher: the pool is up and takes batches. Sent once."""

    version: str
    pid: int
    python: str
    cluster: str = ""  # the address of the scheduler, if it is another's


class ClusterNews(msgspec.Struct, frozen=True):
    """News about a cluster: how many jobs are queued, what became of those that died, and what lies idle.

    One that `grows` has workers when there is work.
    """

    queued: int = 0
    dead: str = ""
    idle: str = ""
    grows: bool = False


class WorkersChanged(msgspec.Struct, frozen=True, tag="workers"):
    """Pool to dispatcher: the names of the present workers, all of them, whenever one comes or goes.

    A batch at a worker that is gone ends with `BatchEnded`, which is sent first.
    """

    names: list[str]
    unfit: dict[str, str] = {}  # of another's cluster: those that get no batch, and why
    capacities: dict[str, Capacity] = {}  # of those that have more, or less, than one core
    shared: Capacity | None = None  # what all of them have together, on one machine
    expected: Capacity | None = None  # what each has that is still to come
    news: ClusterNews = ClusterNews()
    carried: int = 0  # how many of the present ones do not see the data folder


class TaskStarted(msgspec.Struct, frozen=True, tag="task_started"):
    """Pool to dispatcher: a worker started a node of a batch.

    Sent at once for the first node of a batch, so that a lost worker has a suspect; for the others only when they run
    for longer than a report takes.
    """

    batch: int
    node: int
    at: float
    pid: int
    spool: str  # the stem of the files with the worker's output


class Outcomes(msgspec.Struct, frozen=True, tag="outcomes"):
    """Pool to dispatcher: nodes of a batch ended. `payload` is an encoded `list[Outcome]`, opaque to the pool.

    A node has at most one outcome per batch; those of quick tasks come together, ten times a second.
    """

    batch: int
    payload: bytes


class TaskMessage(msgspec.Struct, frozen=True, tag="task_message"):
    """Pool to dispatcher: an entry that a running task adds to the journal of its dispatch.

    `payload` is an encoded `journal.Entry`, opaque to the pool. It comes before the outcome of its task.
    """

    batch: int
    payload: bytes


class TaskProgress(msgspec.Struct, frozen=True, tag="task_progress"):
    """Pool to dispatcher: how much of its work a running task has done. Never recorded; the next one replaces it."""

    batch: int
    progress: NodeProgress


class TaskWaits(msgspec.Struct, frozen=True, tag="task_waits"):
    """Pool to dispatcher: the running task of a batch waits for another dispatch, so its worker takes another batch.

    The nodes that are `returned` have not begun and will not.
    """

    batch: int
    returned: list[int]


class TaskResumed(msgspec.Struct, frozen=True, tag="task_resumed"):
    """Pool to dispatcher: a task that has waited goes on, beside what its worker runs now."""

    batch: int


class BatchEnded(msgspec.Struct, frozen=True, tag="batch_ended"):
    """Pool to dispatcher: no more messages of a batch follow. Its nodes without an outcome return to the queue.

    `lost` says why its process is gone, `node` where it was then; `timeout` that it was killed because the time of the
    batch's only task was up; `trouble` that the batch could not be run at all. All empty: the batch ended by itself, or
    was cancelled.
    """

    batch: int
    lost: str = ""
    timeout: bool = False
    trouble: str = ""  # e.g. covalab is missing on the worker
    node: int = -1
    is_over: bool = False  # the job of its worker reached its wall time


class Pong(msgspec.Struct, frozen=True, tag="pong"):
    """Pool to dispatcher: the pool answers. One that sends nothing at all for the limit is taken for lost."""


class PoolFailed(msgspec.Struct, frozen=True, tag="pool_failed"):
    """Pool to dispatcher: the pool cannot work, and why; it ends after this. With `hopeless`, so would another."""

    message: str
    hopeless: bool = False


# Tagged unions: a part that gets a message it does not know fails at once, and not by a missing field later.
ToPool = RunBatch | CancelBatch | ReturnUnstarted | DispatchesEnded | WorkWaits | Ping | StopPool
FromPool = (
    PoolReady
    | WorkersChanged
    | TaskStarted
    | Outcomes
    | TaskMessage
    | TaskProgress
    | TaskWaits
    | TaskResumed
    | BatchEnded
    | Pong
    | PoolFailed
)

BatchState = Literal["sent", "started", "ended"]
PoolState = Literal["starting", "up", "ended"]

BATCH_TRANSITIONS: Final[Mapping[tuple[BatchState, type[msgspec.Struct]], BatchState]] = {
    ("sent", CancelBatch): "sent",
    ("sent", ReturnUnstarted): "sent",
    ("sent", TaskStarted): "started",
    ("sent", BatchEnded): "ended",  # lost or cancelled before its worker had started it
    ("started", CancelBatch): "started",  # the other nodes of the batch go on
    ("started", ReturnUnstarted): "started",
    ("started", TaskStarted): "started",
    ("started", TaskMessage): "started",
    ("started", TaskProgress): "started",
    ("started", Outcomes): "started",
    ("started", TaskWaits): "started",
    ("started", TaskResumed): "started",
    ("started", BatchEnded): "ended",
}
"""The state of a batch after a message about it. `RunBatch` sends one; after its end there is no message."""

POOL_TRANSITIONS: Final[Mapping[tuple[PoolState, type[msgspec.Struct]], PoolState]] = {
    ("starting", PoolReady): "up",
    ("starting", WorkersChanged): "starting",  # one came or went while the others were counted
    ("starting", PoolFailed): "ended",
    ("starting", StopPool): "ended",
    ("up", WorkersChanged): "up",
    ("up", RunBatch): "up",
    ("up", CancelBatch): "up",
    ("up", ReturnUnstarted): "up",
    ("up", DispatchesEnded): "up",
    ("up", WorkWaits): "up",
    ("up", TaskStarted): "up",
    ("up", TaskMessage): "up",
    ("up", TaskProgress): "up",
    ("up", Outcomes): "up",
    ("up", TaskWaits): "up",
    ("up", TaskResumed): "up",
    ("up", BatchEnded): "up",
    ("up", Ping): "up",
    ("up", Pong): "up",
    ("up", PoolFailed): "ended",
    ("up", StopPool): "ended",
}
"""The state of a pool after a message. It may end at any time without one: its process can be killed."""


def encoder() -> msgspec.msgpack.Encoder:
    """Return an encoder of wire structs; one per thread."""
    return msgspec.msgpack.Encoder()


def decoder(type_: Any) -> msgspec.msgpack.Decoder[Any]:
    """Return a decoder of a wire struct; bad bytes raise `msgspec.ValidationError` or `msgspec.DecodeError`."""
    return msgspec.msgpack.Decoder(type_)
