"""`Execution`: a dispatch while it runs, to be sealed, closed and followed by its stream. Names as in TriggerFlow."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Generic, Literal, Protocol, TypeVar

from covalab.client import Client
from covalab.core.journal import Command
from covalab.sdk.executions.aio import FOR_EVER, ROUND_SECONDS, deadline_after, is_past, left_until, waited_for
from covalab.sdk.executions.state_reader import SnapshotReader
from covalab.sdk.executions.stream import StreamCursor
from covalab.sdk.values import UserValue


class Refreshable(Protocol):
    """A result that can be asked for again; `Result` is one."""

    def refresh(self) -> object:
        """Ask for everything again."""
        ...


_ResultT = TypeVar("_ResultT", bound=Refreshable)


class Execution(Generic[_ResultT]):
    """A dispatch while it runs: it can be sealed, closed and followed. `get_execution` makes one.

    Parameters
    ----------
    client : Client
        The connection to the dispatcher.
    dispatch_id : str
        The dispatch.
    load_result : callable
        Returns its `Result`; called when that is first needed, and once.
    """

    def __init__(self, client: Client, dispatch_id: str, load_result: Callable[[], _ResultT]) -> None:
        self._client = client
        self._id = dispatch_id
        self._load_result = load_result
        self._result: _ResultT | None = None

    def __repr__(self) -> str:
        return f"<execution {self._id}>"

    @property
    def dispatch_id(self) -> str:
        """The id of the dispatch."""
        return self._id

    @property
    def result(self) -> _ResultT:
        """The `Result`, which reads everything else."""
        if self._result is None:
            self._result = self._load_result()
        return self._result

    def seal(self) -> None:
        """Let nothing new in from outside; what runs goes on. Sealing twice is no error."""
        self._client.command(self._id, Command("seal"))

    def unseal(self) -> None:
        """Let things in again; of an execution that is closed, that is a warning and nothing else."""
        if self._client.command(self._id, Command("unseal")).state.lifecycle == "closed":
            warnings.warn(f"dispatch {self._id} is closed and stays so", RuntimeWarning, stacklevel=2)

    def close(
        self,
        timeout: float | None = None,
        reason: str = "manual",
        *,
        pending_interrupts: Literal["error", "cancel"] = "error",
    ) -> dict[str, UserValue]:
        """Seal, wait for what runs, close. Closing twice returns the same snapshot.

        Parameters
        ----------
        timeout : float, optional
            How many seconds what runs may still take; what is left then is cancelled, with a warning.
        reason : str, default "manual"
            What `Result.get_meta` gives as ``close_reason``.
        pending_interrupts : {"error", "cancel"}, default "error"
            What to do when it waits for a person: raise, or cancel that.

        Returns
        -------
        dict
            The state by key, as `Result.snapshot` has it.

        Raises
        ------
        DispatcherError
            If it waits for a person, or is paused; it stays open then. A ``RuntimeError``.
        """
        data = {"timeout": timeout, "reason": reason, "pending_interrupts": pending_interrupts}
        snapshot = self._client.command(self._id, Command("close", data=data))
        if timeout is not None and snapshot.summary.status == "cancelled":
            warnings.warn(f"what dispatch {self._id} was doing was cancelled after {timeout} s", stacklevel=2)
        self.result.refresh()
        return SnapshotReader(self._client, self._id).whole_state(snapshot)

    async def async_close(
        self,
        timeout: float | None = None,
        reason: str = "manual",
        *,
        pending_interrupts: Literal["error", "cancel"] = "error",
    ) -> dict[str, UserValue]:
        """Do the same as `close` without blocking the event loop."""
        return await waited_for(self.close, timeout, reason, pending_interrupts=pending_interrupts)

    def get_runtime_stream(self, timeout: float | None = 10) -> Iterator[UserValue]:
        """Yield the stream from its first item, then what comes, until the dispatch has ended.

        Every reader begins at the beginning, also after the dispatch, the kernel or the dispatcher has ended. Beside
        what tasks put into it, it contains interventions, people's answers and state that could not be written, as
        dictionaries; and how many items were dropped because there were too many (``"type": "lagged"``).

        Parameters
        ----------
        timeout : float, optional
            How many seconds may pass between two items, 10 if not given; then there is a warning, and the end. None:
            any number.

        Yields
        ------
        object
            What a task put into the stream, or a dictionary with a ``type`` (str).
        """
        cursor = StreamCursor(self._client, self._id)
        deadline = deadline_after(timeout)
        while not cursor.has_ended:
            items = cursor.next(left_until(deadline, FOR_EVER), deadline)
            yield from items
            if items:
                deadline = deadline_after(timeout)
            elif not cursor.has_ended and is_past(deadline):
                cursor.warn(timeout)
                return

    async def get_async_runtime_stream(self, timeout: float | None = 10) -> AsyncIterator[UserValue]:
        """Do the same as `get_runtime_stream`, for ``async for``."""
        cursor = StreamCursor(self._client, self._id)
        deadline = deadline_after(timeout)
        while not cursor.has_ended:
            items = await waited_for(cursor.next, left_until(deadline, ROUND_SECONDS), deadline)
            for item in items:
                yield item
            if items:
                deadline = deadline_after(timeout)
            elif not cursor.has_ended and is_past(deadline):
                cursor.warn(timeout)
                return
