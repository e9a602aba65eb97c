"""Executions: a dispatch while it runs, with its state, its stream and the people who have a say in it.

What is read here is asked of the dispatcher each time, and every value is a copy. The names are TriggerFlow's.
"""

from __future__ import annotations

import datetime as dt
import threading
import time
import uuid
import warnings
import weakref
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

import msgspec

from covalab.client import Client, connect
from covalab.core.errors import NoSuchInterrupt
from covalab.core.journal import Command, Entry, ExecutionSnapshot, Interrupt, Intervention, StateNode, find
from covalab.core.lifecycle import TERMINAL, has_come_to_its_end
from covalab.core.model import DispatchId, Value, does_work
from covalab.sdk.dispatching.ids import checked_id
from covalab.worker.reporting import chosen, plain, plain_dict

if TYPE_CHECKING:
    from covalab.sdk.results.result import Result

ROUND_SECONDS: Final = 2.0
"""How many seconds one request of an asynchronous call waits: a thread cannot be called back."""

_WAKE: Final = 0.5
_AT_ONCE: Final = 100
"""How many calls of one event loop wait at a time; each has a thread and a connection."""

_slots: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
FOR_EVER: Final = 3600.0
"""How many seconds one request of any other call waits, before it is made again."""
_PAGE: Final = 1_000
_MISSING: Final = object()
_T = TypeVar("_T")


class Reader:
    """What can be read of an execution: `Result` has these as methods."""

    def __init__(self, client: Client, dispatch_id: str, result: Result) -> None:
        self._client = client
        self._id = dispatch_id
        self._result = result

    def standing(self, *, wait: float = 0.0, final: bool = False) -> ExecutionSnapshot:
        """Ask how things stand."""
        return self._client.execution(self._id, wait=wait, final=final)

    def open(self, value: Value, what: str) -> Any:
        """Open a closed value."""
        return self._client.blobs.deserialize(value, what=f"{what} of dispatch {self._id}")

    def opened(self, tree: StateNode, what: str = "state") -> Any:
        """Open a part of the state, as objects of its own."""
        if not tree.more:
            if tree.below is not None:
                return {key: self.opened(part, what) for key, part in tree.below.items()}
            return None if tree.value is None else self.open(tree.value, what)
        items = [self.opened(part, what) for part in tree.more]
        if tree.value is None and tree.below is None:
            return items
        first = self.opened(StateNode(tree.value, tree.below), what)
        return [*first, *items] if isinstance(first, list) else [first, *items]

    def state(self, key: str | Sequence[str | int] | None, default: Any) -> Any:
        """Return a part of the state; see `Result.get_state`."""
        if key is None:
            return StateView(self)
        path = tuple(key.split(".")) if isinstance(key, str) else tuple(key)
        if path and path[0] == "nodes":
            return self._nodes(path[1:], default)
        standing = self.standing()
        if path and path[0] in _OURS:
            found: Any = self.ours(standing).get(str(path[0]), _MISSING)
            for part in path[1:]:
                found = found.get(part, _MISSING) if isinstance(found, dict) else _MISSING
            return default if found is _MISSING else found
        tree = find(standing.folded.state, path) if all(isinstance(part, str) for part in path) else None  # type: ignore[arg-type]
        return default if tree is None else self.opened(tree, f"state {path!r}")

    def ours(self, standing: ExecutionSnapshot) -> dict[str, Any]:
        """Return the parts of the state that covalab writes."""
        found: dict[str, Any] = {}
        if standing.folded.final is not None:
            found["$final_result"] = self.open(standing.folded.final, "the final result")
        if standing.folded.interventions:
            found["$interventions"] = {
                record.id: msgspec.to_builtins(record) for record in standing.folded.interventions.values()
            }
        return found

    def whole_state(self, standing: ExecutionSnapshot | None = None) -> dict[str, Any]:
        """Return the whole state, as a snapshot has it."""
        standing = standing or self.standing()
        state = {key: self.opened(tree, f"state {key!r}") for key, tree in standing.folded.state.items()}
        return {**state, **self.ours(standing)}

    def _nodes(self, path: tuple[str | int, ...], default: Any) -> Any:
        nodes = NodesView(self._result)
        if not path:
            return nodes
        found: Any = nodes.get(path[0])
        for part in path[1:]:
            found = found.get(part, _MISSING) if isinstance(found, Mapping) else _MISSING
        return default if (found is None and len(path) == 1) or found is _MISSING else found

    def meta(self) -> dict[str, Any]:
        """Return what is known about the execution itself; see `Result.get_meta`."""
        standing = self.standing()
        summary, folded = standing.summary, standing.folded
        status = {"pending": "created"}.get(summary.status, summary.status)
        return {
            "execution_id": str(summary.id),
            "run_id": str(summary.id),
            "flow_name": summary.name,
            "status": "waiting" if folded.waiting and summary.status == "running" else status,
            "lifecycle_state": folded.lifecycle,
            "created_at": _iso(summary.created_at),
            "started_at": _iso(summary.started_at),
            "closed_at": _iso(folded.closed_at),
            "close_reason": folded.close_reason,
            "state_version": folded.version,
            "dispatch_id": str(summary.id),
            "root_dispatch_id": str(summary.root or summary.id),
            "sealed_at": _iso(folded.sealed_at),
            "recovered_count": standing.recovered,
            "paused": folded.paused,
            "waiting_for": [interrupt.id for interrupt in folded.waiting],
        }

    def final(self, standing: ExecutionSnapshot) -> tuple[bool, Any]:
        """Return whether there is a final result by now, and it."""
        if standing.folded.final is not None:
            return True, self.open(standing.folded.final, "the final result")
        summary = standing.summary
        if summary.status == "completed" or (summary.status == "running" and has_come_to_its_end(summary.counts)):
            record = self._client.record(self._id)
            return True, type(self._result)(record, self._client)._value_at(record.graph.output)  # noqa: SLF001 - its other half
        return (True, self.whole_state(standing)) if summary.status in TERMINAL else (False, None)

    def expired(self, timeout: float | None, *, raise_on_timeout: bool) -> None:
        """Say that there is no final result yet."""
        message = f"dispatch {self._id} has no final result after {timeout:g} s; ask again, or wait longer"
        if raise_on_timeout:
            raise TimeoutError(message)
        warnings.warn(message, UserWarning, stacklevel=4)


_OURS: Final = ("$final_result", "$interventions")


class StateView(Mapping[str, Any]):
    """The state of an execution. Values are opened when they are read; `to_dict` opens all.

    ``view["nodes"]`` is the branch of the nodes; it is not among the keys.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._standing = reader.standing()

    def __getitem__(self, key: str) -> Any:
        if key == "nodes":
            return self._reader.state("nodes", None)
        if key in _OURS:
            return self._reader.ours(self._standing)[key]
        return self._reader.opened(self._standing.folded.state[key], f"state {key!r}")

    def __iter__(self) -> Iterator[str]:
        folded = self._standing.folded
        yield from folded.state
        if folded.final is not None:
            yield _OURS[0]
        if folded.interventions:
            yield _OURS[1]

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __eq__(self, other: object) -> bool:
        return self.to_dict() == other.to_dict() if isinstance(other, StateView) else self.to_dict() == other

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<state: {', '.join(self) or 'empty'}>"

    def to_dict(self) -> dict[str, Any]:
        """Return the state as a dictionary of copies."""
        return self._reader.whole_state(self._standing)


class NodesView(Mapping[Any, Any]):
    """What became of the nodes, by name (of several, ``name``, ``name_1``, ``name_2``) or by number; opened lazily."""

    def __init__(self, result: Result) -> None:
        self._result = result
        self._numbers: dict[str, int] = {}
        counts: dict[str, int] = {}
        for number, node in enumerate(result._record.graph.nodes):  # noqa: SLF001 - the other half of `Result`
            n = counts[node.name] = counts.get(node.name, -1) + 1
            name = node.name if not n else f"{node.name}_{n}"
            self._numbers.setdefault(name, number)

    def __getitem__(self, key: str | int) -> NodeView:
        number = self._numbers.get(key) if isinstance(key, str) else key
        if number is None and isinstance(key, str) and key.isdigit():
            number = int(key)
        if number is None or not 0 <= number < len(self._result._record.graph.nodes):  # noqa: SLF001
            raise KeyError(key)
        return NodeView(self._result, number)

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)


class NodeView(Mapping[str, Any]):
    """What became of one node, asked when this was made; the output is opened when it is read."""

    _FIELDS = ("status", "output", "error", "attempts", "start_time", "end_time", "stdout", "stderr")

    def __init__(self, result: Result, number: int) -> None:
        self._known = result.get_node_result(number)
        works = does_work(result._record.graph.nodes[number])  # noqa: SLF001
        client = result._client  # noqa: SLF001
        self._known["attempts"] = client.node(result.dispatch_id, number).attempt if works else 0

    def __getitem__(self, key: str) -> Any:
        if key not in self._FIELDS:
            raise KeyError(key)
        found = self._known[key]
        return found.get_deserialized() if key == "output" and found is not None else found

    def __iter__(self) -> Iterator[str]:
        return iter(self._FIELDS)

    def __len__(self) -> int:
        return len(self._FIELDS)


class Execution:
    """A dispatch as something that lives: it can be sealed and closed, and listened to. `get_execution` makes one."""

    def __init__(self, client: Client, dispatch_id: str, result: Result | None = None) -> None:
        self._client = client
        self._id = dispatch_id
        self._result = result

    def __repr__(self) -> str:
        return f"<execution {self._id}>"

    @property
    def dispatch_id(self) -> str:
        """The id of the dispatch."""
        return self._id

    @property
    def result(self) -> Result:
        """The `Result`, which reads everything else."""
        if self._result is None:
            from covalab.sdk.results.result import Result  # noqa: PLC0415 - a result reads by this module

            self._result = Result(self._client.record(self._id), self._client)
        return self._result

    def seal(self) -> None:
        """Let nothing new in from outside; what runs goes on. Sealing twice is no error."""
        self._client.wish(self._id, Command("seal"))

    def unseal(self) -> None:
        """Let things in again; of an execution that is closed, that is a warning and nothing else."""
        if self._client.wish(self._id, Command("unseal")).folded.lifecycle == "closed":
            warnings.warn(f"dispatch {self._id} is closed and stays so", RuntimeWarning, stacklevel=2)

    def close(
        self,
        timeout: float | None = None,
        reason: str = "manual",
        *,
        pending_interrupts: Literal["error", "cancel"] = "error",
    ) -> dict[str, Any]:
        """Seal, wait for what runs, close; returns the snapshot. Closing twice gives the same one.

        Parameters
        ----------
        timeout
            How many seconds what runs may still take; what is left then is cancelled, with a warning.
        reason
            What `Result.get_meta` gives as ``close_reason``.
        pending_interrupts
            What to do when it waits for a person: raise, or cancel that.

        Raises
        ------
        DispatcherError
            If it waits for a person, or is paused; it stays open then. A ``RuntimeError``.
        """
        wish = Command("close", data={"timeout": timeout, "reason": reason, "pending_interrupts": pending_interrupts})
        standing = self._client.wish(self._id, wish)
        if timeout is not None and standing.summary.status == "cancelled":
            warnings.warn(f"what dispatch {self._id} was doing was cancelled after {timeout} s", stacklevel=2)
        self.result.refresh()
        return Reader(self._client, self._id, self.result).whole_state(standing)

    async def async_close(
        self,
        timeout: float | None = None,
        reason: str = "manual",
        *,
        pending_interrupts: Literal["error", "cancel"] = "error",
    ) -> dict[str, Any]:
        """Do the same as `close` without blocking the event loop."""
        return await waited_for(self.close, timeout, reason, pending_interrupts=pending_interrupts)

    def get_runtime_stream(self, timeout: float | None = 10) -> Iterator[Any]:
        """Yield the stream from its first item, then what comes, until the dispatch has ended.

        Every reader begins at the beginning, also after the dispatch, the kernel or the dispatcher has ended. Beside
        what tasks put into it, it tells of interventions, of people's answers and of state that could not be written,
        as dictionaries; and of how many items were let go because there were too many (``"type": "lagged"``).

        Parameters
        ----------
        timeout
            How many seconds may pass between two items; then there is a warning, and the end. None: any number.
        """
        cursor = _Cursor(self._client, self._id)
        deadline = deadline_after(timeout)
        while not cursor.ended:
            items = cursor.next(left_until(deadline, FOR_EVER))
            yield from items
            if items:
                deadline = deadline_after(timeout)
            elif not cursor.ended and deadline is not None and time.monotonic() >= deadline:
                cursor.warn(timeout)
                return

    async def get_async_runtime_stream(self, timeout: float | None = 10) -> AsyncIterator[Any]:
        """Do the same as `get_runtime_stream`, for ``async for``."""
        cursor = _Cursor(self._client, self._id)
        deadline = deadline_after(timeout)
        while not cursor.ended:
            items = await waited_for(cursor.next, left_until(deadline, ROUND_SECONDS))
            for item in items:
                yield item
            if items:
                deadline = deadline_after(timeout)
            elif not cursor.ended and deadline is not None and time.monotonic() >= deadline:
                cursor.warn(timeout)
                return


class _Cursor:
    """A reader's place in a stream."""

    def __init__(self, client: Client, dispatch_id: str) -> None:
        self._client = client
        self._id = dispatch_id
        self._since = 0
        self._read = 0
        self.ended = False

    def next(self, wait: float) -> list[Any]:
        """Return what comes next, after at most `wait` seconds."""
        page = self._client.stream(self._id, self._since, self._read, wait)
        items: list[Any] = []
        if page.missed:
            items.append({"type": "lagged", "missed": page.missed})
            self._read += page.missed
        for number, entry in page.entries:
            items.append(self._item(entry))
            self._since = number
            self._read += 1
        self.ended = page.ended
        return items

    def _item(self, entry: Entry) -> Any:
        if entry.kind == "stream":
            if entry.tree is None or entry.tree.value is None:
                return None
            return self._client.blobs.deserialize(entry.tree.value, what=f"an item of the stream of {self._id}")
        if entry.kind == "refused":
            return {"type": "state", "path": list(entry.path), "node_id": entry.node, **entry.data}
        action = {"intervene": "append", "answer": "resumed", "wait": "waiting", "withdraw": "cancelled"}
        what = "interrupt" if entry.kind in ("wait", "answer", "withdraw") else "intervention"
        found = {"type": what, "action": action.get(entry.kind, entry.kind), **entry.data, "at": _iso(entry.at)}
        if what == "interrupt":
            found["interrupt_type"] = entry.data.get("type")
            found |= {"type": what, "id": f"{self._id}:{entry.node}"}
        return found

    def warn(self, timeout: float | None) -> None:
        """Say that nothing came."""
        message = f"nothing came through the stream of dispatch {self._id} for {timeout:g} s; reading ends here"
        warnings.warn(message, UserWarning, stacklevel=3)


async def in_thread(call: Callable[..., _T], *args: Any, **kwargs: Any) -> _T:
    """Make a call that the dispatcher answers at once without blocking the event loop."""
    import asyncio  # noqa: PLC0415 - a program without a loop does not need it

    return await asyncio.to_thread(call, *args, **kwargs)


async def waited_for(call: Callable[..., _T], *args: Any, **kwargs: Any) -> _T:
    """Make a call that may take for ever without blocking the event loop, nor the threads of `in_thread`.

    Whoever stops waiting leaves a daemon thread behind, which keeps no process from ending; `asyncio.to_thread` would.
    """
    import asyncio  # noqa: PLC0415

    done: Future[_T] = Future()
    done.set_running_or_notify_cancel()

    def work() -> None:
        try:
            done.set_result(call(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
            done.set_exception(error)

    async with _slots.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(_AT_ONCE)):
        threading.Thread(target=work, name="covalab-wait", daemon=True).start()
        answer = asyncio.wrap_future(done)
        try:
            while not answer.done():
                # A kernel hears its stop button when its loop wakes up, and a loop that waits for a thread would not.
                await asyncio.wait({answer}, timeout=_WAKE)
            return answer.result()
        finally:
            answer.cancel()


def deadline_after(timeout: float | None) -> float | None:
    """Return when a wait is over, by the monotonic clock; None: never."""
    return None if timeout is None else time.monotonic() + timeout


def left_until(deadline: float | None, most: float) -> float:
    """Return how many seconds are left of a wait, at most so many."""
    return most if deadline is None else min(most, max(0.0, deadline - time.monotonic()))


def get_execution(dispatch_id: str) -> Execution:
    """Return the execution of a dispatch.

    Raises
    ------
    MissingLatticeRecordError
        If there is no such dispatch.
    """
    client, wanted = connect(), checked_id(dispatch_id)
    client.summary(wanted)
    return Execution(client, wanted)


def interrupt_dict(interrupt: Interrupt) -> dict[str, Any]:
    """Return what waits for a person, or did, as a dictionary."""
    return {
        "id": interrupt.id,
        "node_id": interrupt.node,
        "type": interrupt.type,
        "status": interrupt.status,
        "text": interrupt.text,
        "created_at": _iso(interrupt.created_at),
        "resumed_at": _iso(interrupt.resumed_at),
        "actor": interrupt.actor,
        "request_id": interrupt.request_id or None,
    }


def continue_with(
    dispatch_id: str,
    interrupt_id: str | int | None = None,
    value: Any = True,
    *,
    request_id: str | None = None,
    actor: str | None = None,
) -> dict[str, Any]:
    """Answer what a dispatch waits for (`pause_for`): the value becomes the value of that node.

    Parameters
    ----------
    dispatch_id
        The dispatch.
    interrupt_id
        What is answered: ``"<dispatch id>:<node>"``, as `Result.get_meta` and the stream tell it, or the node's number;
        may be left out (None) when only one thing waits.
    value
        The answer: anything that can be pickled.
    request_id
        Makes a repeated answer harmless: the same request with the same value changes nothing.
    actor
        Who answers.

    Returns
    -------
    dict
        The record of the interrupt.

    Raises
    ------
    KeyError
        If nothing waits, or ever waited, under this id.
    ValueError
        If it has been answered by another request, or with another value; or if several things wait and none is named.
    RuntimeError
        If the dispatch is sealed, or has not been started.
    MissingLatticeRecordError
        If there is no such dispatch.
    """
    client, wanted = connect(), checked_id(dispatch_id)
    if interrupt_id is None:
        waiting = client.execution(wanted).folded.waiting
        if len(waiting) != 1:
            names = ", ".join(f"{one.id} ({one.type})" for one in waiting) or "nothing"
            message = f"dispatch {wanted} waits for {names}; name the one that is answered"
            raise ValueError(message)
        interrupt_id = waiting[0].id
    closed = client.blobs.serialize(value, what="the answer")
    wish = Command("answer", str(interrupt_id), request_id or uuid.uuid4().hex, closed, data={"actor": actor})
    standing = client.wish(wanted, wish)
    found = next(one for one in standing.folded.interrupts.values() if str(interrupt_id) in (one.id, str(one.node)))
    return interrupt_dict(found)


def get_interrupts(dispatch_id: str | None = None, status: str | None = "waiting") -> list[dict[str, Any]]:
    """Return what a dispatch waits for, or with another `status` (``"resumed"``, ``"cancelled"``, None: any) did.

    Parameters
    ----------
    dispatch_id
        The dispatch; if not given, all that run, with all below them.
    status
        See above.

    Raises
    ------
    MissingLatticeRecordError
        If there is no such dispatch.
    """
    client = connect()
    wanted = _running(client, status) if dispatch_id is None else [checked_id(dispatch_id)]
    found = [one for wait in wanted for one in client.execution(wait).folded.interrupts.values()]
    return [interrupt_dict(one) for one in found if status is None or one.status == status]


def _running(client: Client, status: str | None) -> Iterator[DispatchId]:
    """Yield the ids of what runs and may have asked somebody, the newest first, each before what is below it."""
    offset = 0
    while page := client.dispatches(status="running", offset=offset, count=_PAGE):
        for one in page:
            below = client.dispatches(status="running", root=one.id, count=_PAGE) if one.inner else []
            # How many wait is in the list; who answered is not.
            yield from (it.id for it in (one, *below) if it.waiting or status != "waiting")
        offset += len(page)


def find_interrupts(id_: str) -> list[dict[str, Any]]:
    """Return what is meant by an id: the interrupt with it, or what the dispatch with it waits for.

    Raises
    ------
    MissingLatticeRecordError
        If there is no such dispatch.
    """
    dispatch, colon, _ = id_.partition(":")
    found = get_interrupts(dispatch, None if colon else "waiting")
    return [one for one in found if not colon or one["id"] == id_]


def the_one(id_: str, found: Sequence[dict[str, Any]], lists: str) -> dict[str, Any]:
    """Return the only interrupt that was found for an id.

    Raises
    ------
    NoSuchInterrupt
        If there is none, or more than one; `lists` is the command that lists them.
    """
    if len(found) != 1:
        names = ", ".join(f"{one['id']} ({one['type']})" for one in found) or "nothing"
        message = f"{id_} waits for {names}; name one that waits, as {lists} lists them"
        raise NoSuchInterrupt(message)
    return found[0]


def intervene(
    dispatch_id: str,
    payload: Any,
    *,
    author: str | None = None,
    note: str | None = None,
    target: str | int | None = None,
    metadata: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Say something to a running dispatch. It pauses nothing and changes no input: tasks may look, and act on it.

    Parameters
    ----------
    dispatch_id
        The dispatch. Its lattice was made with ``intervention_mode="auto"`` or ``"planned"``.
    payload
        What there is to say, as JSON could hold it; what JSON does not know becomes its text.
    author, note, metadata
        Who says it, and what about it.
    target
        The name or number of the node it is meant for, or the target of an `intervention_point`; the next one, if not
        given.

    Returns
    -------
    dict
        The record: ``id``, ``version``, ``status``, ``payload``, ...

    Raises
    ------
    RuntimeError
        If the dispatch takes none, or is sealed or closed.
    TypeError
        If the metadata are no dictionary.
    MissingLatticeRecordError
        If there is no such dispatch.
    """
    data = {
        "payload": plain(payload),
        "author": author,
        "note": note,
        "target": None if target is None else str(target),
        "metadata": plain_dict(metadata),
    }
    id_ = uuid.uuid4().hex
    standing = connect().wish(checked_id(dispatch_id), Command("intervene", id_, data=data))
    return records([standing.folded.interventions[id_]])[0]


def records(found: Sequence[Intervention], **filters: Any) -> list[dict[str, Any]]:
    """Return ledger records as dictionaries, times as text."""
    return [_with_times(record) for record in chosen(found, **filters)]


def _with_times(record: dict[str, Any]) -> dict[str, Any]:
    times = {key: _iso(record[key]) for key in ("created_at", "inserted_at", "rejected_at", "expired_at")}
    return {**record, **times}


def pause(dispatch_id: str) -> None:
    """Let a dispatch, with all below it, start nothing new; what runs goes on. It stays so over restarts.

    Raises
    ------
    RuntimeError
        If it has ended, or has not been started.
    MissingLatticeRecordError
        If there is no such dispatch.
    """
    connect().wish(checked_id(dispatch_id), Command("pause"))


def resume(dispatch_id: str) -> None:
    """Let a dispatch that was paused go on; one that is not paused goes on as it is. Raises as `pause` does."""
    connect().wish(checked_id(dispatch_id), Command("resume"))


def _iso(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return dt.datetime.fromtimestamp(seconds, dt.timezone.utc).isoformat().replace("+00:00", "Z")


async def async_intervene(dispatch_id: str, payload: Any, **fields: Any) -> dict[str, Any]:
    """Do the same as `intervene` without blocking the event loop."""
    return await in_thread(intervene, dispatch_id, payload, **fields)


async def async_continue_with(
    dispatch_id: str, interrupt_id: str | int | None = None, value: Any = True, **fields: Any
) -> dict[str, Any]:
    """Do the same as `continue_with` without blocking the event loop."""
    return await in_thread(continue_with, dispatch_id, interrupt_id, value, **fields)
