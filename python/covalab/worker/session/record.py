"""Record of a cell: the names that the session has after it, each loaded when it is read.

It is the value of the cell's node. It holds references to stored values, not the values, so it is small.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

import msgspec

from covalab.blobs import BlobStore
from covalab.core.cell_source import remember_all
from covalab.core.model import Digest, Value
from covalab.namespace.snapshots import LoadedDefinitions, Snapshot, restore
from covalab.worker import reporting
from covalab.worker.session.reach import names_in

RESULT: Final = ":value:"
"""Name under which the value of a cell's last expression is stored with what shares objects with it."""


ANNOTATIONS: Final = ":annotations:"
STREAMS: Final = (":stdout:", ":stderr:")
HISTORY: Final = ":history "
"""Names, or beginnings of names, under which is stored what the notebook has without a name.

The annotations of the notebook, streams that a cell has replaced, what cells have shown and their texts.
"""


SESSION_KEY: Final = ":session:"
VALUE_KEY: Final = ":value:"
"""Keys of the dictionary that a lattice of bare cells returns: the last record, and the value of its last cell.

The value is missing where it is that of the record. The other keys are names that electrons beside the session made.
"""


class Broken(msgspec.Struct, frozen=True, array_like=True):
    """Cell that failed or was not run, with what a whole run of it might have done (`worker.session.independence`).

    `anything` says why that cannot be told; empty: it can. `makes_code` is whether what it sets may be code.
    """

    number: int  # from 1 on, as people count
    has_failed: bool
    sets: list[str] = []
    changes: list[str] = []
    packages: list[str] = []
    settings: list[str] = []
    draws: bool = False
    writes: bool = False
    makes_code: bool = False
    anything: str = ""

    def __str__(self) -> str:
        return f"cell {self.number}, which {'failed' if self.has_failed else 'was not run'}"


class Replay(msgspec.Struct, frozen=True):
    """A cell that must run again where the session is restored, because of values that cannot be stored.

    `names` are those values and what is tied to them, `before` what it reads, as it was before the cell ran, and
    `needs` what it reads that could not be stored then or was tied, which earlier such cells make.
    """

    text: str
    filename: str
    first_line: int
    names: tuple[str, ...]
    before: Snapshot
    hidden: bytes
    needs: tuple[str, ...] = ()


def needed_replays(replays: Iterable[Replay], unstorable: Iterable[str]) -> list[Replay]:
    """Return the cells that must run again for names that cannot be stored, and those that make what these read."""
    wanted = {*unstorable}
    needed: list[Replay] = []
    for replay in reversed([*replays]):
        if not wanted.isdisjoint(replay.names):
            needed.insert(0, replay)
            wanted.update(replay.names, replay.needs)
            wanted.difference_update(replay.before.names)  # it begins with what is stored of these
    return needed


class RecordState(msgspec.Struct, frozen=True):
    """State of a record, as it is stored."""

    number: int  # of the cell in its session, from 0 on
    token: str  # of this one run of the cell
    snapshot: Snapshot
    hidden: bytes = b""
    replays: list[Replay] = []
    has_value: bool = False
    reply: Value | None = None  # what goes back to a notebook that waits (`covalab.namespace.exchange`)
    hidden_change: bytes = b""  # what this cell has changed of the hidden state, for the same notebook
    sources: dict[str, str] = {}  # texts of cells by the names of their files, for tracebacks
    count: int = 0  # the number of the cell as IPython counts
    older_sources: list[Value] = []  # further ones, stored with an earlier cell
    value_name: str = ""  # the name that has the value, if one does; else it is stored under `RESULT`
    virtual: bytes = b""  # `worker.reuse.runs.Virtual` of a session whose cells may be reused
    order: list[str] = []  # the names as the namespace has them
    broken: list[Broken] = []  # cells before the next one that failed or were not run, if that is no end
    tied: list[str] = []  # names that are stored, and stay with values that cannot be (`worker.session.tied`)

    @property
    def made_again(self) -> tuple[str, ...]:
        """The names that cells make again where the session is restored."""
        return (*self.snapshot.unstorable, *self.tied)


def put_in_order(namespace: dict[str, Any], order: Iterable[str]) -> None:
    """Put names into an order, and those that are not in it behind them: code may go through all names."""
    wanted = [name for name in order if name in namespace]
    known = {*wanted}
    if wanted == [name for name in namespace if name in known]:
        return
    for name in wanted:
        namespace[name] = namespace.pop(name)


class CellRecord(Mapping[str, Any]):
    """Names of a session after one of its cells.

    Raises
    ------
    KeyError
        From ``record[name]``, if there is no such name, or its value could not be stored; the message says which.
    """

    def __init__(self, state: RecordState, blobs: BlobStore | None = None) -> None:
        self.state = state
        self._blobs = blobs
        self._namespace: dict[str, Any] = {}
        self._definitions = LoadedDefinitions()
        self.opening: Callable[[], AbstractContextManager[object]] = nullcontext

    def __reduce__(self) -> tuple[Callable[[bytes], CellRecord], tuple[bytes]]:
        return opened, (msgspec.msgpack.encode(self.state),)

    def bind(self, blobs: BlobStore, opening: Callable[[], AbstractContextManager[object]] = nullcontext) -> CellRecord:
        """Read values from a blob folder from now on, in a context; without one, from that of the running batch."""
        self._blobs, self.opening = blobs, opening
        return self

    @property
    def blobs(self) -> tuple[Digest, ...]:
        """The digests of the blobs that it refers to."""
        snapshots = [self.state.snapshot, *(replay.before for replay in self.state.replays)]
        digests = [digest for snapshot in snapshots for digest in snapshot.blobs]
        values = [*self.state.older_sources, *([self.state.reply] if self.state.reply is not None else [])]
        digests += [value.digest for value in values if value.digest]
        return tuple(dict.fromkeys(digests))

    @property
    def sources(self) -> dict[str, str]:
        """Texts of all cells by the names of their files."""
        blobs = self._blobs or reporting.blobs_of_batch()
        older = [blobs.deserialize(value, what="texts of cells") for value in self.state.older_sources]
        return {name: text for part in (*older, self.state.sources) for name, text in part.items()}

    @property
    def reply(self) -> bytes | None:
        """Reply to the notebook, if one waits for what the cell left."""
        if self.state.reply is None:
            return None
        blobs = self._blobs or reporting.blobs_of_batch()
        data: bytes = blobs.deserialize(self.state.reply, what="what the cell left")
        return data

    @property
    def value(self) -> Any:
        """The value of the cell's last expression, None without one."""
        return self._read(self.state.value_name or RESULT) if self.state.has_value else None

    def __getitem__(self, name: str) -> Any:
        if _is_unnamed(name) or (name not in self._names() and name not in self.state.snapshot.unstorable):
            message = f"no cell made {name!r}; there are {', '.join(sorted(self)) or 'no names'}"
            raise KeyError(message)
        return self._read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(name for name in self._names() if not _is_unnamed(name))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and not _is_unnamed(name) and name in self._names()

    def __repr__(self) -> str:
        return f"<names after cell {self.state.number + 1}: {', '.join(self)}>"

    def _names(self) -> list[str]:
        return [name for stored in self.state.snapshot.covariables for name in stored.names]

    def _read(self, name: str) -> Any:
        reason = self.state.snapshot.unstorable.get(name)
        if reason is not None:
            message = f"{name!r} could not be stored: {reason}"
            raise KeyError(message)
        if name not in self._namespace:
            blobs = self._blobs or reporting.blobs_of_batch()
            remember_all(self.sources)
            with self.opening():
                restore(self.state.snapshot, blobs, self._namespace, [name], self._definitions)
                # Code of the notebook reads its globals when it is called.
                if names_in(self._namespace[name]):
                    missing = [one for one in self._names() if one not in self._namespace]
                    restore(self.state.snapshot, blobs, self._namespace, missing, self._definitions)
        return self._namespace[name]


def _is_unnamed(name: str) -> bool:
    return name.startswith(":")


class Unfinished:
    """Record of a cell that failed, until the failure of its node takes it along."""

    record: CellRecord | None = None

    def take(self) -> CellRecord | None:
        """Return it, once."""
        record, self.record = self.record, None
        return record


unfinished: Final = Unfinished()


def opened(state: bytes) -> CellRecord:
    """Return the record of its stored state."""
    return CellRecord(msgspec.msgpack.decode(state, type=RecordState))
