"""`LocalDispatcher`: the verbs as static methods, as Covalent's internal class has them."""

from __future__ import annotations

from collections.abc import Callable

from covalab.sdk.building.lattice import Lattice
from covalab.sdk.dispatching import api
from covalab.sdk.dispatching.redispatch import redispatch
from covalab.sdk.ids import check_address
from covalab.sdk.results.handle import DispatchHandle
from covalab.sdk.values import UserValue


class LocalDispatcher:
    """The dispatcher of the data folder."""

    dispatch = staticmethod(api.dispatch)
    dispatch_sync = staticmethod(api.dispatch_sync)
    redispatch = staticmethod(redispatch)

    @staticmethod
    def register(orig_lattice: Lattice, dispatcher_addr: str | None = None) -> Callable[..., DispatchHandle]:
        """Record a lattice without starting it; the callable takes its arguments and returns the id."""
        return api.dispatch(orig_lattice, dispatcher_addr, disable_run=True)

    @staticmethod
    def start(dispatch_id: str, dispatcher_addr: str | None = None) -> UserValue:
        """Start a dispatch that `register` recorded; returns its id."""
        check_address(dispatcher_addr)
        return api.start(dispatch_id)

    @staticmethod
    def stop_triggers(dispatch_ids: str | list[str], triggers_server_addr: str | None = None) -> None:
        """Stop all triggers of dispatches."""
        api.stop_triggers(dispatch_ids, triggers_server_addr)
