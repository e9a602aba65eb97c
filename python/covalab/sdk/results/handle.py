"""Handle of a dispatch: its id, as a `str` that shows itself live in a notebook."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from covalab.client import connect
from covalab.core.covalent_status import Status
from covalab.core.model import DispatchId, Graph
from covalab.sdk.results.fetch import fetch_result, fetch_status
from covalab.sdk.values import FieldDict, UserValue

if TYPE_CHECKING:
    from typing_extensions import Self


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

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str(self),)

    @property
    def status(self) -> Status:
        """The status of the dispatch at this moment."""
        return Status(fetch_status(self)["status"])

    def result(self, timeout: float | None = None) -> UserValue:
        """Wait for the dispatch to end and return the lattice's value.

        Parameters
        ----------
        timeout : float, optional
            How many seconds to wait; for ever, if not given.

        Raises
        ------
        TaskFailed
            If the dispatch failed or was cancelled.
        TimeoutError
            If it is still running when the time is up.

        See Also
        --------
        covalab.get_result : The same dispatch as a `Result`, whether it succeeded or not.
        """
        found = fetch_result(self, wait=True, timeout=timeout, stacklevel=3)
        if not found.is_terminal:
            message = f"dispatch {self!s} is still {found.status} after {timeout} s; ct.get_result({self!s}) asks again"
            raise TimeoutError(message)
        return found.raise_for_status().result

    def _repr_mimebundle_(
        self,
        include: Collection[str] | None = None,
        exclude: Collection[str] | None = None,
    ) -> FieldDict:
        from covalab.view.bundle import dispatch_bundle  # noqa: PLC0415 - only when it is shown

        client, dispatch_id = connect(), DispatchId(str(self))
        changes = client.changes(dispatch_id)
        if self._graph is None:
            self._graph = client.graph(dispatch_id)
        return dispatch_bundle(changes.summary, self._graph, changes.nodes)
