"""Worker protocol: the messages between a pool and its workers, in whatever way it reaches them."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from covalab.core import protocol
from covalab.core.model import Digest
from covalab.core.protocol import Outcomes, TaskMessage, TaskProgress, TaskResumed, TaskStarted, TaskWaits


class Job(msgspec.Struct, frozen=True, tag="job"):
    """Run a batch: `owner` is the pool, `root` tells which share a process (`RunBatch.root`), `payload` the batch."""

    owner: str
    number: int
    root: str
    spool: str
    payload: bytes
    is_carried: bool = False  # its worker does not see the data folder: values travel
    memory: int = 0  # bytes that its process may use; 0: as much as the worker lets it


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """Interrupt nodes of a batch (none: all); kill its process if they go on."""

    owner: str
    number: int
    nodes: list[int]


class Kill(msgspec.Struct, frozen=True, tag="kill"):
    """Kill the process of a batch."""

    owner: str
    number: int
    why: str


class Return(msgspec.Struct, frozen=True, tag="return"):
    """End a batch after the node that runs."""

    owner: str
    number: int


class EndDispatches(msgspec.Struct, frozen=True, tag="end_dispatches"):
    """End idle processes of dispatches that have ended."""

    roots: list[str]


class Learn(msgspec.Struct, frozen=True, tag="learn"):
    """Import packages beforehand that tasks have imported somewhere."""

    names: list[str]


class Answer(msgspec.Struct, frozen=True, tag="answer"):
    """Answer a question of a running batch; `content` is an encoded `carriage.Reply`."""

    owner: str
    batch: int
    number: int
    content: bytes


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """First message of a worker: its address in the cluster."""

    address: str


class BatchLost(msgspec.Struct, frozen=True, tag="batch_lost"):
    """Worker to pool: the process that ran a batch is gone. Becomes a `BatchEnded`."""

    batch: int
    node: int  # that it was at; -1: none
    reason: str
    over_memory: bool = False  # it used more than `Job.memory`


class PackagesImported(msgspec.Struct, frozen=True, tag="packages_imported"):
    """Worker to pool: tasks have imported installed packages, which other processes may import beforehand."""

    names: list[str]


class JobDone(msgspec.Struct, frozen=True, tag="job_done"):
    """Last message of a worker about a job; `trouble`: it could not be run at all."""

    batch: int
    trouble: str = ""


class ValueOffered(msgspec.Struct, frozen=True, tag="value_offered"):
    """Worker to pool: a task has written a blob, which the data folder is to have before what is reported next."""

    batch: int
    digest: Digest
    size: int


class ValueAsked(msgspec.Struct, frozen=True, tag="value_asked"):
    """Worker to pool: a task asks for something of the data folder; `content` is one of `carriage.QUESTION`."""

    batch: int
    number: int
    content: bytes


ToWorker = Job | Stop | Kill | Return | EndDispatches | Learn | Answer
FromWorker = (
    Hello
    | TaskStarted
    | Outcomes
    | TaskMessage
    | TaskProgress
    | TaskWaits
    | TaskResumed
    | BatchLost
    | JobDone
    | PackagesImported
    | ValueOffered
    | ValueAsked
)
TO_WORKER: Final[Any] = protocol.decoder(ToWorker)
FROM_WORKER: Final[Any] = protocol.decoder(FromWorker)
