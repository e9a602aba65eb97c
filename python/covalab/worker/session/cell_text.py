"""Cell of a session and names of a notebook, as they travel."""

from __future__ import annotations

import msgspec


class CellText(msgspec.Struct, frozen=True):
    """Bare cell.

    Attributes
    ----------
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
    may_raise
        Whether the cells after it run although it raised an exception.
    reuse
        Whether values and outputs of an earlier run of it may stand for a run (`covalab.worker.session.reuse`).
    needs
        The names that it may read before it sets them, as far as that is known; None: it may read any.
    sure
        The names that it sets in any case.
    stop_on_error
        Whether no cell runs after it if it fails; else those run that are shown to be independent of it.
    parallel
        Whether cells after it may run beside it, and it beside cells before it (`covalab.worker.session.beside`).
    eager
        Whether it begins beside them as soon as it can, also where they are quick.
    history
        Whether a cell after it may read what cells have shown, or their texts: `Out[2]`, `_`, `%macro`.
    """

    text: str
    first_line: int
    filename: str
    parameters: tuple[str, ...] = ()
    bound: tuple[str, ...] = ()
    may_raise: bool = False
    reuse: bool = False
    needs: tuple[str, ...] | None = None
    sure: tuple[str, ...] = ()
    stop_on_error: bool = True
    parallel: bool = False
    eager: bool = False
    history: bool = False


class NotebookNames(msgspec.Struct, frozen=True):
    """Names of the notebook, pickled together (`covalab.namespace.pickling`), and the state beside them."""

    names: tuple[str, ...]
    data: bytes
    hidden: bytes = b""  # pickled `HiddenState` of its process: settings, random generators
    sources: dict[str, str] = {}  # texts of the cells in which functions among them were written
    is_exchange: bool = False  # the notebook waits for what becomes of its objects (`covalab.namespace.exchange`)

    def __str__(self) -> str:
        return ", ".join(self.names)
