"""Bare cell as the function of a node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from covalab.worker.session.cell_text import CellText, NotebookNames
from covalab.worker.session.record import CellRecord


class SessionCell:
    """Cell of a session; call it with the record of the cell before it and values for names.

    Parameters
    ----------
    name
        The name of the electron.
    cell
        The cell.
    """

    __covalab_session__ = True

    def __init__(self, name: str, cell: CellText) -> None:
        self.__name__ = self.__qualname__ = name
        self.__covalab_source__ = cell.text
        self.__doc__ = None
        self._cell = cell

    @property
    def cell(self) -> CellText:
        """The cell."""
        return self._cell

    def __reduce__(self) -> tuple[Callable[..., SessionCell], tuple[Any, ...]]:
        return SessionCell, (self.__name__, self._cell)

    def __call__(
        self, session: CellRecord | None = None, notebook: NotebookNames | None = None, /, **values: Any
    ) -> CellRecord:
        """Run the cell in the session that goes on from a record.

        Parameters
        ----------
        session
            The record of the cell before it; None begins a session.
        notebook
            Names that the notebook has set since then.
        values
            Values of other electrons and of parameters, by name.
        """
        from covalab.worker.session.live import live_session  # noqa: PLC0415 - who only dispatches it needs no shell

        return live_session(session).run(self._cell, notebook, values)
