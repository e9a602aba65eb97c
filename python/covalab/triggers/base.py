"""`BaseTrigger`: base class of all triggers.

The user's object never watches. A pickled copy of it does, in a host process (`covalab.triggers.host`); the user's
object asks the dispatcher for the state of the copy.
"""

from __future__ import annotations

import functools
import traceback
import uuid
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Protocol

from covalab.client import connect
from covalab.core.errors import TriggerError
from covalab.core.model import DispatchId, Trigger
from covalab.core.trigger_states import Firing, TriggerState
from covalab.sdk.dispatching.watching import await_watching
from covalab.sdk.environment import environment

available_triggers: dict[str, type[BaseTrigger]] = {}
"""Every kind of trigger that is defined in this process, by name. Covalent's; subclasses enter themselves."""


class Watcher(Protocol):
    """Connection of the watching copy to its host: reports what it observes."""

    def fire(self) -> DispatchId:
        """Run the workflow; return the dispatch."""
        ...

    def report_trouble(self, error: str) -> None:
        """Report an error after which it goes on watching; empty: the error is over."""
        ...

    def fail(self, error: str) -> None:
        """Report the error that ended it."""
        ...


class BaseTrigger:
    """Trigger: watches for an event, and runs a workflow each time it occurs.

    A class of your own has `observe`, which calls `trigger` each time, and `stop`, which ends `observe`. It may be
    defined in a notebook and needs no registration.

    Parameters
    ----------
    lattice_dispatch_id
        The dispatch to run; ``@ct.lattice(triggers=...)`` sets it when the lattice is dispatched.
    dispatcher_addr, triggers_server_addr
        Covalent's; there are no such addresses, so they change nothing.

    Attributes
    ----------
    observe_blocks
        Whether `observe` returns only when it has ended. Then it runs in a thread, else on the host's event loop.
    event_loop
        Where it watches: the host's event loop.
    stop_flag
        For `observe` and `stop` to agree on.
    use_internal_funcs
        Covalent's; it changes nothing.

    Examples
    --------
    >>> import threading
    >>> class Twice(BaseTrigger):
    ...     def observe(self):
    ...         self.trigger()
    ...         self.trigger()
    ...     def stop(self):
    ...         pass
    >>> Twice().to_dict()["name"]
    'Twice'
    """

    def __init__(
        self,
        lattice_dispatch_id: str | None = None,
        dispatcher_addr: str | None = None,
        triggers_server_addr: str | None = None,
    ) -> None:
        self.lattice_dispatch_id = lattice_dispatch_id
        self.dispatcher_addr = dispatcher_addr
        self.triggers_server_addr = triggers_server_addr
        self.observe_blocks = True
        self.event_loop: Any = None
        self.use_internal_funcs = True
        self.stop_flag: Any = None

    _watcher: Watcher | None = None  # in the copy that watches
    _registered = ""  # the id under which the copy of this object watches
    _fired: tuple[str, ...] = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        available_triggers[cls.__name__] = cls
        stop = cls.__dict__.get("stop")
        if stop is not None:
            # `stop` ends the watching of the object it is called on; the user's object must stop its copy instead.
            cls.stop = _stops_the_copy(stop)  # type: ignore[assignment,method-assign]

    @abstractmethod
    def observe(self) -> Any:
        """Watch, and call `trigger` each time. To be written by each kind of trigger."""
        raise NotImplementedError

    @abstractmethod
    def stop(self) -> Any:
        """Stop watching. To be written by each kind of trigger."""
        raise NotImplementedError

    def trigger(self) -> None:
        """Run the workflow: the dispatch itself if it has not been started yet, else its graph under a new id.

        Raises
        ------
        TriggerError
            If it is attached to no dispatch, or was stopped.
        """
        if self._watcher is not None:
            fired = self._fire(self._watcher)
        elif not self.lattice_dispatch_id:
            message = (
                f"{type(self).__name__} is attached to no dispatch: `lattice_dispatch_id` is None; give it to "
                "@ct.lattice(triggers=...) and dispatch the lattice, or set lattice_dispatch_id and call register()"
            )
            raise TriggerError(message)
        elif self._registered:
            fired = connect().fire(self._registered, Firing(DispatchId(str(uuid.uuid4())))).id
        else:
            fired = self._run_once(connect(), self.lattice_dispatch_id)
        if fired != self.lattice_dispatch_id:
            self._fired = (*self._fired, str(fired))

    @staticmethod
    def _fire(watcher: Watcher) -> DispatchId:
        try:
            return watcher.fire()
        except Exception:  # raised in a thread of a watching library it would be lost
            watcher.fail(traceback.format_exc())
            raise

    @staticmethod
    def _run_once(client: Any, dispatch: str) -> DispatchId:
        if client.summary(dispatch).held:
            return DispatchId(client.start_held(dispatch).id)
        return DispatchId(client.redispatch(dispatch, DispatchId(str(uuid.uuid4()))).id)

    @property
    def new_dispatch_ids(self) -> list[str]:
        """The dispatches that were made for it, oldest first, without the one it is attached to.

        The user's object asks the dispatcher. (In Covalent only the copy on the server knows.)
        """
        if self._watcher is None and self._registered:
            return [str(fired) for fired in self._state().fired if fired != self.lattice_dispatch_id]
        return list(self._fired)

    @property
    def state(self) -> str:
        """``"starting"``, ``"watching"``, ``"stopped"``, ``"ended"`` (`observe` returned), ``"failed"``.

        Empty while it is not registered. It is ``"watching"`` once `observe` has returned, or, of one that blocks, was
        called; and ``"starting"`` again where its process was killed, until the next one watches.
        """
        return self._state().state if self._registered else ""

    @property
    def error(self) -> str:
        """The traceback of a trigger that failed, or the present error of one that goes on watching."""
        return self._state().error if self._registered else ""

    def _state(self) -> TriggerState:
        assert self.lattice_dispatch_id is not None
        states = connect().triggers(self.lattice_dispatch_id)
        return next(state for state in states if state.id == self._registered)

    def register(self) -> None:
        """Start to watch for the dispatch `lattice_dispatch_id`. When this returns it watches, or has failed.

        Raises
        ------
        TriggerError
            If that is not set.
        MissingLatticeRecordError
            If there is no such dispatch.
        SerializationError
            If this object cannot be pickled.
        """
        if not self.lattice_dispatch_id:
            message = (
                f"{type(self).__name__} does not know what to run; set lattice_dispatch_id to the id of a dispatch"
            )
            raise TriggerError(message)
        client = connect()
        trigger = self._serialized(client.blobs)
        client.register_triggers(self.lattice_dispatch_id, [trigger])
        self._attach(self.lattice_dispatch_id, trigger.id)
        await_watching(client, self.lattice_dispatch_id)

    def _serialized(self, blobs: Any) -> Trigger:
        """Return the copy that is to watch, serialized."""
        name = type(self).__name__
        code = blobs.serialize(self, what=f"trigger {name}", text=name)
        return Trigger(str(uuid.uuid4()), name, code, environment())

    def _attach(self, dispatch: str, registered: str) -> None:
        """Record that a copy watches for a dispatch."""
        self.lattice_dispatch_id, self._registered, self._fired = str(dispatch), registered, ()

    def _stop_the_copy(self) -> None:
        assert self.lattice_dispatch_id is not None
        connect().stop_triggers(self.lattice_dispatch_id, [self._registered])

    def to_dict(self) -> dict[str, Any]:
        """Return its attributes, and the name of its class as ``name``."""
        public = {name: value for name, value in self.__dict__.items() if not name.startswith("_")}
        return {**public, "new_dispatch_ids": list(self._fired), "name": type(self).__name__}

    def __getstate__(self) -> dict[str, Any]:
        private = ("_watcher", "_registered", "_fired")
        return {name: value for name, value in self.__dict__.items() if name not in private}


def _stops_the_copy(stop: Callable[[Any], Any]) -> Callable[[Any], Any]:
    if hasattr(stop, "__wrapped__"):
        return stop  # a class that was pickled comes with it

    @functools.wraps(stop)
    def wrapper(self: BaseTrigger) -> Any:
        if self._watcher is None and self._registered:
            return self._stop_the_copy()
        return stop(self)

    return wrapper
