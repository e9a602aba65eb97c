"""`CreatedExecution`: an execution of a lattice that is started through its handle, as in TriggerFlow."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn, TypeVar

from covalab.client import connect
from covalab.sdk.executions.aio import in_thread
from covalab.sdk.executions.execution import Execution, Refreshable
from covalab.sdk.values import UserValue

_ResultT = TypeVar("_ResultT", bound=Refreshable)


class CreatedExecution(Execution[_ResultT]):
    """An execution that has not been started; `covalab.Lattice.create_execution` makes one.

    Once it is started it is like any other. Before, there is no dispatch, so nothing can be asked of it.

    Parameters
    ----------
    name : str
        The name of the lattice.
    send : callable
        Dispatches it: takes its arguments and returns the id.
    load_result : callable
        Takes the id and returns the `Result`.
    """

    def __init__(self, name: str, send: Callable[..., str], load_result: Callable[[str], _ResultT]) -> None:
        self._name = name
        self._send = send
        self._load = load_result

    def __getattr__(self, name: str) -> NoReturn:
        """Raise: it is asked for something that it has when it was started."""
        if name in ("_client", "_id", "_result", "_load_result"):
            message = (
                f"this execution of {self._name!r} has not been started; call start(...) or await async_start(...), "
                "with the arguments of the workflow"
            )
            raise RuntimeError(message)
        raise AttributeError(name)

    def __repr__(self) -> str:
        return super().__repr__() if self._is_started else f"<execution of {self._name!r}, not started>"

    @property
    def _is_started(self) -> bool:
        return "_id" in self.__dict__

    def start(self, /, *args: UserValue, **kwargs: UserValue) -> str:
        """Dispatch the lattice with these arguments, without waiting.

        Returns
        -------
        DispatchHandle
            The id, a ``str`` that shows itself live in a notebook. When it returns, the dispatch is on disk.

        Raises
        ------
        RuntimeError
            If it was started before.
        """
        if self._is_started:
            message = f"this execution of {self._name!r} was started before, as dispatch {self._id}; create another one"
            raise RuntimeError(message)
        started = self._send(*args, **kwargs)
        super().__init__(connect(), str(started), lambda: self._load(str(started)))
        return started

    async def async_start(self, /, *args: UserValue, **kwargs: UserValue) -> str:
        """Do the same as `start` without blocking the event loop."""
        return await in_thread(self.start, *args, **kwargs)
