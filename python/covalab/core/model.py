"""Structs of covalab: the same ones are stored, sent between processes, and drawn by the browser.

Frozen structs only. Nothing here decides anything (see `lifecycle` and `batching`) and nothing here deserializes a
value: a value is serialized where it is made (`codec`) and travels so.
"""

from __future__ import annotations

import enum
from typing import Annotated, Any, Final, Literal, NewType

import msgspec

from covalab.core.capacity import Needs
from covalab.core.notebook_run import NotebookRun
from covalab.core.provenance import Provenance

DispatchId = NewType("DispatchId", str)
Digest = NewType("Digest", str)

INLINE_LIMIT: Final = 64 * 1024
"""Values up to this many bytes travel inside messages and rows; larger ones are files in the blob folder."""


class NodeKind(enum.IntEnum):
    """Kinds of nodes of the transport graph. The numbers are stored: append, never renumber."""

    ELECTRON = 0
    PARAMETER = 1  # a value known when the graph was built
    LIST = 2  # `:electron_list:`, assembles its inputs into a list
    DICT = 3  # `:electron_dict:`, assembles two lists into a dict
    ITEM = 4  # `electron[key]` and tuple unpacking
    ATTRIBUTE = 5  # `electron.name`
    OPERATOR = 6  # `electron + other` and kin
    OUTPUT = 7  # `:postprocess:reconstruct`, assembles the lattice's return value; with a function, on a worker
    SUBLATTICE = 8  # an electron that is a lattice: a dispatch of its own
    PAUSE = 9  # waits for a person's answer, which is its value
    POINT = 10  # where interventions are inserted


VIRTUAL_KINDS: Final = frozenset({NodeKind.PARAMETER, NodeKind.LIST, NodeKind.DICT, NodeKind.OUTPUT})
"""Kinds that never reach a worker: they are inputs of the batch that uses them, or assembled by the reader.

An output node that has a function is the exception (`does_work`).
"""

CHEAP_KINDS: Final = frozenset({NodeKind.ITEM, NodeKind.ATTRIBUTE, NodeKind.OPERATOR})
"""Kinds that run with their producer, because a trip would cost more than the work."""


WAITING_KINDS: Final = frozenset({NodeKind.PAUSE, NodeKind.POINT})
"""Kinds that no worker runs: they end in the dispatcher."""


class EdgeKind(enum.IntEnum):
    """Ways in which a value enters the node that an edge points to."""

    ARG = 0  # positional; `Edge.index` is the position
    KWARG = 1  # by keyword; `Edge.name` is the keyword
    WAIT = 2  # no value, only order (`ct.wait`)


Status = Literal["pending", "running", "completed", "failed", "cancelled", "skipped"]
"""Status of a node or a dispatch. `lifecycle` has the table of moves and Covalent's words for these."""

ErrorType = Literal[
    "runtime",
    "timeout",
    "serialization",
    "storage",
    "worker_lost",
    "dependency",
    "cancelled",
    "deps",
    "executor",
    "sublattice",  # the dispatch that the node stands for failed; its own nodes say why
]
"""Place where a failure happened; never guessed from the name of an exception."""


class Node(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One node of a transport graph; its id is its position in `Graph.nodes`.

    `function`, `value` and `settings` are positions in `Graph.functions`, `Submission.values` and `Graph.settings`
    (-1: none), so that ten thousand calls of one electron name one function.
    """

    name: str
    kind: NodeKind
    function: int = -1
    value: int = -1
    settings: int = -1


def does_work(node: Node) -> bool:
    """Whether a node runs on a worker, and so has attempts, an outcome and a value of its own.

    Examples
    --------
    >>> does_work(Node("f", NodeKind.ELECTRON, 0)), does_work(Node(":parameter:1", NodeKind.PARAMETER))
    (True, False)
    >>> does_work(Node("out", NodeKind.OUTPUT)), does_work(Node("out", NodeKind.OUTPUT, function=0))
    (False, True)
    """
    return node.kind not in VIRTUAL_KINDS or (node.kind is NodeKind.OUTPUT and node.function >= 0)


class Edge(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """`source`'s value enters `target` as `name`. `index` is the position of a positional argument, else -1."""

    source: int
    target: int
    name: str
    kind: EdgeKind
    index: int = -1


class Function(msgspec.Struct, frozen=True, array_like=True):
    """A function that nodes call: its name, the digest of its encoded form and, for people, its source."""

    name: str
    digest: Digest
    source: str = ""


class RetryPolicy(msgspec.Struct, frozen=True, array_like=True):
    """After which failures a node is run again, and how long it waits before (`retries.delay_before`).

    `on` names error types and exception classes; `delay` and `max_delay` are seconds, `jitter` a fraction.
    """

    on: tuple[str, ...] = ("runtime", "storage", "sublattice")
    delay: float = 1.0
    backoff: float = 2.0
    max_delay: float = 60.0
    jitter: float = 0.25


class Settings(msgspec.Struct, frozen=True, array_like=True):
    """Settings of a node. `time_limit` is in seconds; `retries` counts re-runs, so N means at most N + 1 runs.

    `hooks` names encoded `core.hooks.Hooks` (empty: none), in `Submission.code` or in the blob folder.
    `executor` is the executor's short name, `executor_data` what its instance says of itself in words (empty: it was
    named), `instance` the encoded instance, in `Submission.code` or a blob, where a name cannot make another.
    """

    executor: str = "dask"
    executor_data: dict[str, Any] = {}
    retries: int = 0
    time_limit: float | None = None
    hooks: Digest = Digest("")
    instance: Digest = Digest("")
    retry: RetryPolicy = RetryPolicy()
    session: bool = False  # runs in one process with the other such nodes of its dispatch, and shares what is in it
    needs: Needs | None = None  # of a worker; None: one core


class Graph(msgspec.Struct, frozen=True):
    """A transport graph: Covalent's node numbers, names and edges. `output` is the node of the lattice's value."""

    name: str
    nodes: list[Node]
    edges: list[Edge]
    functions: list[Function]
    settings: list[Settings]
    output: int


class Value(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A serialized value: encoded bytes (`data`), or the digest of a file in the blob folder.

    `size` is the encoded length in bytes, `type` the type's name, `text` a short text for people (may be cut). `uses`
    are further blobs that the value refers to, and that must stay as long as it does. `check` is the CRC-32 of `data`.
    """

    size: int
    type: str
    text: str = ""
    data: bytes | None = None
    digest: Digest | None = None
    uses: tuple[Digest, ...] = ()
    check: int = -1  # -1: not known, as of values that were stored by earlier versions

    @property
    def blobs(self) -> tuple[Digest, ...]:
        """The digests of all blobs that it needs."""
        return (self.digest, *self.uses) if self.digest else self.uses


class Environment(msgspec.Struct, frozen=True):
    """Environment that a dispatch expects: the interpreter of the kernel that made it, and its folder."""

    python: str  # sys.executable
    prefix: str  # sys.prefix
    cwd: str
    path: list[str] = []  # entries of sys.path that a fresh interpreter would not have
    versions: dict[str, str] = {}  # "python", "covalab", "cloudpickle", "distributed", ...
    shell_env: dict[str, str] = {}  # environment variables that decide what can be imported (PATH, PYTHONPATH, ...)
    sys_path: list[str] = []  # all of sys.path, in its order
    umask: int = -1  # -1: not known


class Origin(msgspec.Struct, frozen=True):
    """Origin of a dispatch, so that the list can say so and the notebook can find it again."""

    notebook: str = ""
    cell: str = ""
    pid: int = 0


Tag = Annotated[str, msgspec.Meta(pattern=r"^[^\s,]{1,64}$")]
"""A word that a person gives to dispatches, to find them by it."""


class Submission(msgspec.Struct, frozen=True):
    """Submission of a dispatch: all that one `ct.dispatch` sends, in one request.

    The id is the client's, so that sending it twice changes nothing. It is stored in this form: fields keep their
    names, and new ones have defaults.
    """

    id: DispatchId
    graph: Graph
    values: list[Value]
    code: dict[Digest, bytes]  # encoded functions and hooks up to INLINE_LIMIT; longer ones are blob files
    environment: Environment
    origin: Origin
    inputs: Value  # {"args": tuple, "kwargs": dict}; large parts are in `values` (`core.argument_parts`)
    lattice: Digest  # the encoded Lattice, in `code` or in the blob folder
    source: str = ""  # the lattice's source
    doc: str = ""
    root: DispatchId | None = None  # the outermost dispatch; None: this one
    parent_node: int = -1  # the sublattice node in the parent dispatch
    priority: int = 0  # what is ready of a higher one goes first
    hold: bool = False  # record it and do not start it (`disable_run`)
    reuse: DispatchId | None = None  # an earlier dispatch whose outputs stand for nodes that are the same
    reuse_strict: bool = False  # Covalent's own rule of what is the same: functions are not compared
    replaced: list[int] = []  # nodes that were replaced on purpose: they run, whatever they look like
    parent: DispatchId | None = None  # the dispatch whose node this one stands for
    triggers: list[Trigger] = []  # what starts it, and then runs it again
    interventions: Literal["", "planned", "auto"] = ""  # whether and where they are inserted
    auto_close: bool = True  # ends with its graph; else when it is closed
    starts_at: Annotated[float, msgspec.Meta(ge=0, le=253_402_300_799)] | None = None  # not before; in the past: now
    schedule: Schedule | None = None  # what makes it a run of a series
    variables: bytes = b""  # packed `core.process_variables.ProcessVariables`: secrets, for the task's process only
    local_modules: Digest = Digest("")  # of packed `core.local_modules.LocalModules`, in `code` or in the blob folder
    notebook: NotebookRun | None = None  # of one that runs a whole notebook
    again: DispatchId | None = None  # the dispatch that this one runs again
    provenance: Provenance | None = None  # of the process that dispatched
    tags: list[Tag] = []

    def __repr__(self) -> str:
        return f"<submission {self.id} of {self.graph.name!r}>"  # without the variables


class SublatticePlan(msgspec.Struct, frozen=True):
    """The part of a child dispatch's `Submission` that a worker builds for a node; the rest follows from its parent."""

    graph: Graph
    values: list[Value]
    code: dict[Digest, bytes]
    inputs: Value
    lattice: Digest
    source: str = ""
    doc: str = ""
    interventions: Literal["", "planned", "auto"] = ""


class Schedule(msgspec.Struct, frozen=True):
    """Of which series a dispatch is a run, and when the next one follows (`core.schedule`).

    The next run starts `interval` seconds after the end of this one, or after its start if they may overlap.
    """

    id: DispatchId  # of the series: that of its first run
    interval: Annotated[float, msgspec.Meta(gt=0, le=3_162_240_000)]  # a hundred years
    allow_overlap: bool = False
    number: Annotated[int, msgspec.Meta(ge=1)] = 1  # which run it is
    cron: str = ""  # a timetable: then `interval` is only the time between two of its moments
    zone: str = ""  # of the timetable


class Trigger(msgspec.Struct, frozen=True):
    """Something that watches, and runs a dispatch when it sees what it waits for. `code` is the pickled object."""

    id: str
    name: str  # of its class
    code: Value
    environment: Environment  # where it watches


class Failure(msgspec.Struct, frozen=True):
    """Why a node failed. `traceback` is cut to the user's frames; `exception` is its class, `kinds` also the bases."""

    type: ErrorType
    message: str
    exception: str = ""
    traceback: str = ""
    kinds: tuple[str, ...] = ()
    original: Value | None = None  # the exception itself, if it could be serialized; JSON readers get neither this
    left: Value | None = None  # nor this: the record of the names that a cell of a session had when it failed
    damaged: tuple[Digest, ...] = ()  # the blobs that could not be read, of type "storage"
    goes_on: bool = False  # what is independent of it in its session runs, from `left`

    @property
    def reason(self) -> str:
        """The exception's class and what it said, without saying the class twice.

        Examples
        --------
        >>> Failure("runtime", "no", "ValueError").reason, Failure("runtime", "", "ValueError").reason
        ('ValueError: no', 'ValueError')
        >>> Failure("deps", "DepsFailed: make ended with 2", "DepsFailed").reason
        'DepsFailed: make ended with 2'
        """
        said = self.message.strip()
        if not self.exception or said.startswith(self.exception):
            return said
        return f"{self.exception}: {said}" if said else self.exception


class Reuse(msgspec.Struct, frozen=True, array_like=True):
    """Whether an earlier run stood for a run (`dispatch` empty: no) and why; `doubts` are why this one never will."""

    dispatch: DispatchId = DispatchId("")
    node: int = -1
    reasons: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


class TextTime(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """When a node printed on: how many characters of both streams were there, and whether standard error is first."""

    at: float
    stdout: int
    stderr: int
    is_stderr: bool = False


class Outcome(msgspec.Struct, frozen=True, array_like=True):
    """Outcome of one run of a node. Times are seconds since the epoch, UTC."""

    node: int
    status: Status
    started_at: float
    ended_at: float
    value: Value | None = None
    failure: Failure | None = None
    stdout: str = ""
    stderr: str = ""
    worker: str = ""
    submission: Value | None = None  # of a sublattice's node, until it is a dispatch: msgpack of a `SublatticePlan`
    outputs: Value | None = None  # JSON of `core.outputs`; None: what `outputs.derived` makes of the other fields
    reuse: Reuse | None = None  # of a node that takes part in reuse
    times: tuple[TextTime, ...] | None = None  # when it printed on, after what it printed at its start; None: not known


class NodeOutput(msgspec.Struct, frozen=True, array_like=True):
    """Output of a node that ended, with the fields of its `Outcome`."""

    stdout: str = ""
    stderr: str = ""
    failure: Failure | None = None
    outputs: Value | None = None


class Attempt(msgspec.Struct, frozen=True):
    """One run of a node that was not its last: which, how it ended, and when the next may begin."""

    number: int  # from 1 on
    outcome: Outcome
    next_at: float | None = None  # seconds since the epoch; None: at once


class Counts(msgspec.Struct, frozen=True):
    """Numbers of nodes that do work (not parameters, not collections), by status."""

    pending: int = 0
    running: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    skipped: int = 0


class DispatchSummary(msgspec.Struct, frozen=True):
    """One row of the list of dispatches. `version` grows with every change of the dispatch or of one of its nodes."""

    id: DispatchId
    name: str
    status: Status
    version: int
    created_at: float
    started_at: float | None
    ended_at: float | None
    counts: Counts
    notebook: str = ""
    cell: str = ""
    root: DispatchId | None = None
    parent_node: int = -1
    error: str = ""
    held: bool = False  # recorded and not started
    parent: DispatchId | None = None
    inner: int = 0  # how many dispatches are below it, on all levels; of outermost ones only
    waiting: int = 0  # nodes that wait for a person
    paused: bool = False  # nothing new is sent
    starts_at: float | None = None  # not started before; while it is held: it waits for that
    schedule_id: DispatchId | None = None  # of the series that it is a run of: the id of the first run
    interval: float | None = None  # seconds from one run of the series to the next
    recovered: int = 0  # how many dispatchers, after the first, have taken it up
    notice: str = ""  # what it waits for that may not come by itself
    origin: DispatchId | None = None  # the dispatch that this one runs again
    inputs: str = ""  # as its call has them, cut
    progress: float | None = None  # the share of all work that is done, if running nodes have said how far they are
    tags: list[str] = []


class NodeState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """State of a node: all of it that changes while it is drawn."""

    node: int
    status: Status
    started_at: float | None = None
    ended_at: float | None = None
    attempt: int = 0
    next_at: float | None = None  # a node that failed is run again from then on

    @property
    def is_reused(self) -> bool:
        """Whether an earlier run stands for it: it completed and did not run."""
        return self.status == "completed" and self.attempt == 0


class NodeProgress(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Share of its work that a running node has done: `done` of `total` (None: not known), and what it is about."""

    node: int
    done: float
    total: float | None = None
    text: str = ""


class DispatchChanges(msgspec.Struct, frozen=True):
    """Every node that changed after version `since`, as it stands now: re-readable from any number."""

    summary: DispatchSummary
    since: int
    nodes: list[NodeState]
    children: dict[int, DispatchId] = {}  # of those nodes that are sublattices: the dispatch each stands for
    progress: list[NodeProgress] = []  # of all nodes that run and have said so


class NodeDetail(msgspec.Struct, frozen=True):
    """Details of one node, for the node panel and `Result.get_node_result`."""

    dispatch: DispatchId
    node: int
    name: str
    kind: NodeKind
    status: Status
    started_at: float | None = None
    ended_at: float | None = None
    attempt: int = 0
    executor: str = ""
    retries: int = 0
    time_limit: float | None = None
    worker: str = ""
    source: str = ""
    stdout: str = ""
    stderr: str = ""
    failure: Failure | None = None
    value: Value | None = None  # JSON readers get it without `data`
    inputs: list[Edge] = []
    attempts: list[Attempt] = []  # those before the current one
    next_at: float | None = None
    child: DispatchId | None = None  # of a sublattice's node: the dispatch it stands for
    outputs: Value | None = None  # of one that ended, as in `Outcome`; JSON readers get it without `data`
    reuse: Reuse | None = None


TaskStatusName = Literal["pending", "running", "completed", "failed", "cancelled"]
"""Status of a task. `lifecycle.task_word` derives it from a node: one that was skipped has failed or was cancelled."""


class TaskQuery(msgspec.Struct, frozen=True, omit_defaults=True):
    """Query for a list of tasks. An empty field restricts nothing; `limit` -1 means all."""

    dispatch: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{0,64}$")] = ""
    status: Annotated[str, msgspec.Meta(pattern=r"^((pending|running|completed|failed|cancelled)(,|$))*$")] = ""
    error_type: Annotated[str, msgspec.Meta(pattern=r"^[a-z_]{0,40}$")] = ""
    min_attempts: Annotated[int, msgspec.Meta(ge=0, le=10**9)] = 0
    since: Annotated[float, msgspec.Meta(ge=0, le=1e15)] = 0.0  # ended since then, or not ended
    limit: Annotated[int, msgspec.Meta(ge=-1, le=10**9)] = 25


class TaskRow(msgspec.Struct, frozen=True):
    """A task in a list: a node that does work. `value` comes without its bytes."""

    dispatch: DispatchId
    node: int
    status: TaskStatusName
    attempts: int
    enqueued_at: float
    started_at: float | None = None
    ended_at: float | None = None
    next_at: float | None = None
    failure: Failure | None = None
    value: Value | None = None
    starts_at: float | None = None  # of its dispatch
    schedule_id: DispatchId | None = None


class TasksSummary(msgspec.Struct, frozen=True):
    """Summary of all tasks: counts by status, types of errors, and the task that runs for longest."""

    counts: dict[TaskStatusName, int]
    error_types: dict[str, int]
    oldest_running: TaskRow | None = None


class DispatchRecord(msgspec.Struct, frozen=True):
    """A dispatch as `ct.get_result` fetches it: one answer, enough to show it and to assemble its result."""

    summary: DispatchSummary
    graph: Graph
    nodes: list[NodeState]  # one per node, in order
    values: list[Value]  # of the parameters, as submitted
    outputs: dict[int, Value]  # of the nodes that were asked for (by default those the result is made of)
    failures: dict[int, Failure]
    inputs: Value
    source: str
    doc: str
    environment: Environment
    lattice: Digest
    children: dict[int, DispatchId] = {}  # sublattice nodes that have become dispatches of their own


class Problem(msgspec.Struct, frozen=True):
    """The body of every error answer. `kind` names the exception the client raises, `message` is for people."""

    kind: str
    message: str
    subject: str = ""  # the id it is about
