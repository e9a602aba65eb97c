"""A bare cell as the function of a node, and names of the notebook on their way into its session."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from covalab.worker.session.record import CellRecord


class NotebookNames(msgspec.Struct, frozen=True):
    """Names of the notebook, pickled together (`covalab.namespace.pickling`), and the state beside them."""

    names: tuple[str, ...]
    data: bytes
    hidden: bytes = b""  # pickled `HiddenState` of its process: settings, random generators
    is_exchange: bool = False  # the notebook waits for what becomes of its objects (`covalab.namespace.exchange`)

    def __str__(self) -> str:
        return ", ".join(self.names)


class SessionCell:
    """Cell of a session; call it with the record of the cell before it and values for names.

    Parameters
    ----------
    name
        The name of the electron.
    text
        The whole cell as the notebook shows it, its magic line included.
    first_line
        The line on which its code begins, counted from 1.
    filename
        The name that tracebacks show for it.
    parameters
        The names of the lattice's parameters that keep their value after this cell, which sets their defaults.
    bound
        The names that it sets, as far as that is known.
    """

    __covalab_session__ = True

    def __init__(
        self,
        name: str,
        text: str,
        first_line: int,
        filename: str,
        parameters: tuple[str, ...] = (),
        bound: tuple[str, ...] = (),
    ) -> None:
        self.__name__ = self.__qualname__ = name
        self.__covalab_source__ = self.text = text
        self.first_line = first_line
        self.filename = filename
        self.parameters = parameters
        self.bound = bound
        self.__doc__ = None

    def __reduce__(self) -> tuple[Callable[..., SessionCell], tuple[Any, ...]]:
        return SessionCell, (self.__name__, self.text, self.first_line, self.filename, self.parameters, self.bound)

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
        from covalab.worker.session.live import live_session  # noqa: PLC0415 - a kernel only describes cells

        return live_session(session).run(self, notebook, values)
