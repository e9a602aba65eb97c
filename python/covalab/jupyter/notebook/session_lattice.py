"""Lattice of bare cells: their electrons take the session from each other, and names from the notebook.

Plain cells between electron cells count as they were when the electron cells were run: so the names that a cell takes
from the notebook are looked at then, and compared when it is dispatched.
"""

from __future__ import annotations

import hashlib
import pickle
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from covalab.core.errors import CovalabError
from covalab.core.transportable import TransportableObject
from covalab.jupyter.cells.cell import Cell, kind_of
from covalab.jupyter.cells.ipython_lines import CellRefused
from covalab.namespace import exchange, hidden_state, pickling
from covalab.sdk.building.trace import active
from covalab.worker.session.cell_text import NotebookNames
from covalab.worker.session.effects import lists_names
from covalab.worker.session.reach import names_in, reached, sources_of
from covalab.worker.session.record import SESSION_KEY, VALUE_KEY

_COPY_LIMIT: Final = 16 * 1024**2
"""Values up to this many bytes are copied when the cell is run; a larger one is taken as it is at the dispatch."""


_LISTING: Final = frozenset({"globals", "user_ns"})
"""Names in the code of a function by which it may look at any name of the notebook."""


class _Seen(NamedTuple):
    """A value of the notebook as it was when a cell was run: the object, and for data its bytes and their digest."""

    value: Any
    data: bytes | None = None
    digest: str = ""


class SeenNames:
    """Names of the notebook as they were when a cell was run."""

    def __init__(self, cell: Cell, namespace: dict[str, Any]) -> None:
        self._namespace = namespace
        names = [*cell.scope.reads, *cell.scope.bindings, *cell.scope.changes, *cell.text_names]
        self._seen = {name: _see(name, namespace) for name in reached(names, namespace)}
        self.lists_names = lists_names(cell.tree) or any(
            not _LISTING.isdisjoint(names_in(namespace[name])) for name in self._seen
        )

    def reach(self, names: Sequence[str]) -> list[str]:
        """Return names, and those that their code read when the cell was run."""
        return sorted(reached(names, {**self._namespace, **{name: seen.value for name, seen in self._seen.items()}}))

    def now(self, name: str) -> _Seen:
        """Return a name as the cell has it: as it was, or, if it was not there yet, as it is."""
        seen = self._seen.get(name)
        if seen is None:
            return _see(name, self._namespace)
        if seen.data is None:
            return seen
        # The object itself where it is still the same, so that what shares objects with it goes on doing so.
        present = _see(name, self._namespace) if name in self._namespace else seen
        if present.digest == seen.digest:
            return present
        return seen._replace(value=pickling.loads(seen.data, self._namespace)[name])


def _see(name: str, namespace: dict[str, Any]) -> _Seen:
    value = namespace[name]
    if kind_of(value) == "code":
        return _Seen(value)
    try:
        encoded = pickling.dumps({name: value}, namespace)
    except CovalabError:
        return _Seen(value)  # an error at the dispatch, if a cell needs it
    if encoded.size > _COPY_LIMIT:
        return _Seen(value)
    data = encoded.join()
    return _Seen(value, data, hashlib.sha256(data).hexdigest())


class Build:
    """Cells of a session, and names of the notebook for them, while the graph of their lattice is built.

    Each name of the notebook is taken once, and again for a cell that was run after it changed. A lattice that was
    stored, to be dispatched again in another process, has the names that were taken for it.

    Parameters
    ----------
    namespace
        The notebook's; None in another process.
    taken
        The names that were taken before, by cell.
    base
        The hidden state of the kernel before the notebook did anything.
    waits
        Whether the notebook waits for what becomes of its objects.

    Attributes
    ----------
    sent
        What the notebook keeps for that.
    """

    def __init__(
        self,
        namespace: dict[str, Any] | None,
        taken: Mapping[str, NotebookNames | None] = {},
        *,
        base: hidden_state.HiddenState | None = None,
        waits: bool = False,
    ) -> None:
        self._namespace = namespace
        self._taken = dict(taken)
        self._base, self._waits = base, waits
        self.sent: exchange.Sent | None = None
        self.begin()

    def __reduce__(self) -> tuple[Callable[..., Build], tuple[Any, ...]]:
        return Build, (None, self._taken)

    def begin(self) -> None:
        """Begin another graph."""
        self.made: dict[str, Any] = {}
        self._sent: dict[str, object] = {}

    def take(self, cell: str, names: Sequence[str], seen: SeenNames | None) -> NotebookNames | None:
        """Return names for a cell; None if the session has them all."""
        if self._namespace is None or seen is None:
            return self._taken.get(cell)
        if self._waits:
            return self._send(cell, names, list(self._namespace) if seen.lists_names else ())
        values: dict[str, Any] = {}
        for name in names:
            one = seen.now(name)
            mark: object = one.digest or id(one.value)
            if self._sent.get(name) != mark:
                self._sent[name] = mark
                values[name] = one.value
        # Modules first: a class that is one of theirs is found there.
        values = dict(sorted(values.items(), key=lambda item: not isinstance(item[1], types.ModuleType)))
        hidden = b"" if self.made else self._hidden()
        taken = None
        if values or hidden:
            taken = NotebookNames(
                tuple(values), pickling.dumps(values, self._namespace).join(), hidden, sources_of(values.values())
            )
        self._taken[cell] = taken
        return taken

    def _hidden(self) -> bytes:
        """Return the hidden state that the notebook has set, and its generators of random numbers in any case."""
        if self._base is None:
            return pickle.dumps(hidden_state.capture())
        state, changed = hidden_state.capture_both(self._base)
        now, parts = state.parts, changed.parts
        parts.update({name: now[name] for name in hidden_state.GENERATORS if name in now})
        # What comes back is a whole list of filters, so the cell must begin with the notebook's. Programs that read
        # their arguments say how they are called.
        process = {name: now["process"][name] for name in ("filters", "arguments")}
        parts["process"] = {**parts.get("process", {}), **process}
        return pickle.dumps(hidden_state.HiddenState(parts))

    def _send(self, cell: str, names: Sequence[str], beside: Iterable[str]) -> NotebookNames:
        """Send names for one cell whose notebook waits for what becomes of them; `beside` are sent if they can be.

        Raises
        ------
        CellRefused
            If one of them cannot be sent.
        """
        assert self._namespace is not None
        sent = self.sent = exchange.send([*names, *beside], self._namespace)
        refused = [reason for name, reason in sent.unsendable.items() if name in names]
        if refused:
            message = f"electron {cell!r} cannot run in the background: {'; '.join(refused)}"
            raise CellRefused(message)
        hidden = self._hidden()
        taken = self._taken[cell] = NotebookNames(
            tuple(sent.values), sent.data, hidden, sources_of(sent.values.values()), is_exchange=True
        )
        return taken


def shown(names: NotebookNames) -> TransportableObject:
    """Return names as the argument of a node, which is shown by the names."""
    return TransportableObject.recorded(str(names), lambda: names)


class SessionCall:
    """Electron of a bare cell in the lattice that wires it.

    Parameters
    ----------
    name
        The name of the electron.
    electron
        What is called.
    flows
        The cells that make what it uses, with the names: the edges of the graph.
    build
        What the cells of the lattice share while its graph is built.
    seen
        The notebook when the cell was run; None in another process.
    """

    def __init__(
        self,
        name: str,
        electron: Callable[..., Any],
        flows: Mapping[str, Iterable[str]],
        build: Build,
        seen: SeenNames | None = None,
    ) -> None:
        self._name, self._electron, self._flows, self._build, self._seen = name, electron, flows, build, seen

    def __reduce__(self) -> tuple[Callable[..., SessionCall], tuple[Any, ...]]:
        return SessionCall, (self._name, self._electron, self._flows, self._build)

    def __call__(self, session: Any = None, names: tuple[str, ...] = (), /, **values: Any) -> Any:
        """Add the cell to the graph that is built."""
        trace = active()
        if trace is None:
            message = (
                f"the cell {self._name!r} runs in the session of a dispatch; dispatch its lattice (%dispatch NAME()) "
                "or run the cell without %%electron"
            )
            raise RuntimeError(message)
        if session is None:
            self._build.begin()
        taken = self._build.take(self._name, names, self._seen)
        given = () if taken is None else (shown(taken),)
        made = self._electron(session, *given, **values)
        for maker, flowing in self._flows.items():
            if maker in self._build.made:
                trace.show_flow(self._build.made[maker], made, ", ".join(flowing))
        self._build.made[self._name] = made
        return made


def notebook_names(*names: str) -> tuple[str, ...]:
    """Return names of the notebook that a cell is to find in its session."""
    return names


def results_of(session: Any, *value: Any, **beside: Any) -> dict[str, Any]:
    """Return all that a lattice of bare cells makes: the session, the value of its last cell, what was made beside."""
    return {SESSION_KEY: session, **({VALUE_KEY: value[0]} if value else {}), **beside}
