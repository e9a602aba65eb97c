"""What `dispatch` returns: the id, as a `str` that shows itself live in a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from covalab.core.covalent_status import Status

if TYPE_CHECKING:
    from typing_extensions import Self

    from covalab.core.model import Graph


class DispatchHandle(str):
    """The id of a dispatch. It is a ``str`` everywhere; in a notebook it shows the live transport graph.

    Pickled or copied it is the plain id.
    """

    __slots__ = ("_graph",)

    _graph: Graph | None

    def __new__(cls, dispatch_id: str, graph: Graph | None = None) -> Self:
        """Return the handle of a dispatch. `graph` saves asking for it, where it is known."""
        self = super().__new__(cls, dispatch_id)
        self._graph = graph
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return str, (str(self),)

    @property
    def status(self) -> Status:
        """Where the dispatch stands now."""
        from covalab.sdk.dispatching import api  # noqa: PLC0415 - api needs this module

        return Status(api.get_result(self, status_only=True)["status"])

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the dispatch to end and return the lattice's value.

        Parameters
        ----------
        timeout
            How many seconds to wait; for ever, if not given.

        Raises
        ------
        TaskFailed
            If the dispatch failed or was cancelled.
        TimeoutError
            If it is still running when the time is up.
        """
        from covalab.sdk.dispatching import api  # noqa: PLC0415 - api needs this module

        found = api.get_result(self, wait=True, timeout=timeout)
        if not found.is_terminal:
            message = f"dispatch {self!s} is still {found.status} after {timeout} s; ct.get_result({self!s}) asks again"
            raise TimeoutError(message)
        return found.raise_for_status().result

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:  # noqa: ARG002
        from covalab.client import connect  # noqa: PLC0415 - a handle that is not shown connects to nothing
        from covalab.core.model import DispatchId  # noqa: PLC0415
        from covalab.view.bundle import dispatch_bundle  # noqa: PLC0415

        client, dispatch_id = connect(), DispatchId(str(self))
        changes = client.changes(dispatch_id)
        if self._graph is None:
            self._graph = client.graph(dispatch_id)
        return dispatch_bundle(changes.summary, self._graph, changes.nodes)
