"""Session: the electron cells and lattices of one notebook that were run in this kernel.

Holds the namespace and is independent of IPython: `magics` passes text in and displays what is returned. Cells stay in
the order in which they were first run; a cell that is run again replaces its electron.
"""

from __future__ import annotations

import ast
import importlib
import pickle
import types
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Protocol

import msgspec

from covalab.core.cell_source import filename_for, remember, remember_all
from covalab.core.errors import CovalabError
from covalab.core.missing_values import Missing
from covalab.core.own_attributes import own_attribute
from covalab.core.transportable import TransportableObject
from covalab.jupyter.cells.cell import BUILTINS, Kind, kind_of, names_of, read_cell, read_session_cell
from covalab.jupyter.cells.compiling import Recipe, arguments_of, function_of
from covalab.jupyter.cells.header import CellHeader, default_arguments
from covalab.jupyter.cells.history import number_before_history
from covalab.jupyter.cells.ipython_lines import CellRefused
from covalab.jupyter.notebook.electron_cell import (
    Options,
    as_electron,
    check_outputs,
    check_signature,
    function_if_possible,
    name_from,
    outputs_of,
    recipe_of,
)
from covalab.jupyter.notebook.lattice_source import NAMES, NOTEBOOK, RESULTS
from covalab.jupyter.notebook.linking import WiredElectron
from covalab.jupyter.notebook.refusals import (
    call_out,
    refuse_alone,
    refuse_input,
    warn_of_changes,
    warn_of_settings,
)
from covalab.jupyter.notebook.session_lattice import Build, SeenNames, SessionCall, notebook_names, results_of
from covalab.jupyter.notebook.waiting import SETTINGS
from covalab.jupyter.notebook.wiring import Wiring, wire
from covalab.namespace import hidden_state
from covalab.namespace.covariables import is_hidden
from covalab.namespace.delivery import Delivered
from covalab.namespace.exchange import Sent, deliver
from covalab.sdk.building.lattice import Lattice, lattice
from covalab.sdk.building.trace import active
from covalab.sdk.building.value_table import text_of
from covalab.worker.session.cell import SessionCell
from covalab.worker.session.cell_text import CellText
from covalab.worker.session.reach import is_of_shell, reached
from covalab.worker.session.record import CellRecord

_OF_A_CONTEXT: Final = frozenset({"decimal", "numpy", "signals", "sklearn"})
"""Hidden state that a thread which delivers cannot set for the cells: that of each thread, and of the main one."""


class CellElectron(msgspec.Struct, frozen=True):
    """An electron cell: its definition, its options, its outputs, and its signature as text."""

    part: WiredElectron
    options: Options
    outputs: tuple[str, ...]
    signature: str
    first_line: int = 2
    seen: SeenNames | None = None


class _Wired(msgspec.Struct, frozen=True):
    """Arguments of a `%lattice`, to wire it again when one of its cells is run again."""

    lattice: Lattice
    cells: tuple[str, ...]
    arguments: ast.arguments | None
    wanted: tuple[str, ...] | None


class Expected(Protocol):
    """Cell with `--run` that has not ended (`background.BackgroundCell`)."""

    names: set[str]
    hides_names: bool

    @property
    def name(self) -> str:
        """The name of its electron."""
        ...

    def shares(self, names: Iterable[str]) -> list[str]:
        """Return those of some names that share objects with what it may change."""
        ...

    @property
    def error(self) -> CovalabError | None:
        """Why it failed or was cancelled, once it has."""
        ...

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until its names are here, or it has failed; return whether that is so."""
        ...


class Session:
    """Electron cells and lattices of a notebook.

    Parameters
    ----------
    namespace
        The namespace of the notebook.
    """

    def __init__(self, namespace: dict[str, Any]) -> None:
        self.namespace = namespace
        self._electrons: dict[str, CellElectron] = {}
        self._wired: dict[str, _Wired] = {}
        self._base = hidden_state.capture()
        self._for_context: list[hidden_state.HiddenState] = []
        self._lost: dict[str, str] = {}  # names that could not come from a cell with `--run`, with the reason
        self._pending: list[Expected] = []  # cells with `--run` that have not ended, in the order of their beginning

    @property
    def electrons(self) -> list[CellElectron]:
        """The electron cells in order."""
        return list(self._electrons.values())

    def kind(self, name: str) -> Kind:
        """Return the kind of a name in the notebook. Electrons and lattices of the notebook are code."""
        if name not in self.namespace:
            return "none"
        value = self.namespace[name]
        if is_hidden(name) or is_of_shell(name, value):
            return "none"
        return "code" if isinstance(value, Lattice) else kind_of(value)

    # %%electron

    def suggested(self, text: str) -> str:
        """Return the signature of a cell as its code has it, for a reader to check: `NAME(inputs) -> outputs`.

        Raises
        ------
        CellRefused
            If the cell cannot be an electron.
        """
        cell = read_cell(text, 1, 0)
        made = {name for one in self._electrons.values() for name in one.part.available}
        names = names_of(cell, self.kind, made=made, given=None)
        inputs = [*dict.fromkeys([*names.inputs, *names.unknown])]
        outputs = f" -> {', '.join(names.outputs)}" if names.outputs and not cell.ends_with_value else ""
        return f"{self._free_name(name_from(names), '')}({', '.join(inputs)}){outputs}"

    def define(
        self,
        header: CellHeader,
        text: str,
        first_line: int,
        options: Options,
        *,
        name: str | None = None,
        key: str = "",
        flags: int = 0,
        runs_now: bool = False,
        is_parameters: bool = False,
    ) -> CellElectron:
        """Make a cell an electron, in the notebook's namespace too.

        Parameters
        ----------
        header
            The parsed first line.
        text, first_line
            The whole cell, and the line on which its code begins.
        options
            The electron's options.
        name
            Its name, where the header has none; made from its outputs, if not given.
        key
            Id of the cell in the notebook; running the same cell again replaces the electron. Without one (nbclient,
            papermill, IPython) a named electron replaces that of its name, and any other cell is a further one: run
            twice, it has run twice, as in a kernel.
        flags
            The notebook's `__future__` flags.
        runs_now
            Whether it is dispatched at once: then a name that is not known is an error of that.
        is_parameters
            Whether the cell is tagged `parameters`: the literals that it assigns are defaults of the lattice's
            parameters.

        Raises
        ------
        CellRefused
            If the cell cannot be an electron.
        """
        in_session = header.arguments is None and options.is_plain
        read = read_session_cell if in_session else read_cell
        cell = read(text, first_line, flags)
        others = [one.part for known, one in self._electrons.items() if known != key]
        # The imports of an electron cell are not in the notebook's namespace, because the cell is not run here.
        imports = {name: part.imports[name] for part in others for name in part.imports if self.kind(name) == "none"}
        names = names_of(
            cell,
            lambda name: "code" if name in imports else self.kind(name),
            made={name for part in others for name in part.available if name not in part.imports},
            given=None if header.arguments is None else header.parameters,
        )
        key = key or header.name or name or f"cell {len(self._electrons)} without an id"
        name = header.name or name or self._free_name(name_from(names), key)
        if header.arguments is not None:
            check_signature(name, header.arguments, cell, names)
        outputs = outputs_of(name, header, cell, names)
        recipe = recipe_of(name, header, names, outputs, imports)
        if in_session:
            refuse_input(name, cell, self.namespace)
            if not runs_now:
                call_out(name, cell, names, others, self.namespace, self.kind)
            function = function_if_possible(text, first_line, flags, recipe, self.namespace)
        else:
            if header.arguments is None:
                warn_of_changes(name, cell, names, outputs)
            function = function_of(cell, recipe, self.namespace)
        signature = f"{name}({ast.unparse(recipe.arguments)})" + (f" -> {', '.join(outputs)}" if outputs else "")
        part = WiredElectron(name, cell, header.arguments, header.outputs, in_session, in_session and is_parameters)
        seen = SeenNames(cell, self.namespace) if in_session else None
        made = CellElectron(part, options, outputs, signature, first_line, seen)
        self.namespace[name] = as_electron(function, options)
        self._store(key, made)
        return made

    def forget(self, made: CellElectron) -> None:
        """Remove an electron cell."""
        for key in [key for key, one in self._electrons.items() if one is made]:
            del self._electrons[key]

    def _store(self, key: str, made: CellElectron) -> None:
        """Store an electron in the place of its cell, remove another cell of the same name, and rewire lattices."""
        replaced = {known for known, one in self._electrons.items() if one.part.name == made.part.name} | {key}
        for known in replaced - {key}:
            del self._electrons[known]
        self._electrons[key] = made
        for name, wired in list(self._wired.items()):
            if self.namespace.get(name) is not wired.lattice or not replaced.intersection(wired.cells):
                continue  # the user has assigned something else to the name, or the lattice does not use this cell
            cells = tuple(dict.fromkeys(key if known in replaced else known for known in wired.cells))
            try:
                self._wire(name, cells, wired.arguments, wired.wanted)
            except CellRefused as refused:
                message = f"the lattice {name!r} stays as it was, it cannot be wired with this cell: {refused}"
                warnings.warn(message, stacklevel=3)

    def _free_name(self, wanted: str, key: str) -> str:
        """Return a name that is free in the notebook: `wanted`, or with a number appended."""
        mine = self._electrons.get(key)
        taken = {one.part.name for known, one in self._electrons.items() if known != key}
        name, number = wanted, 1
        while name in taken or (
            name in self.namespace
            and own_attribute(self.namespace[name], "electron_object") is None  # an electron of ours may be redefined
            and not (mine is not None and mine.part.name == name)
        ):
            number += 1
            name = f"{wanted}_{number}"
        return name

    # %%lattice, %lattice, --run

    def define_lattice(self, header: CellHeader, text: str, first_line: int, flags: int = 0) -> Lattice:
        """Make a cell a lattice, in the notebook's namespace too.

        Raises
        ------
        CellRefused
            If the cell cannot be one.
        """
        if header.name is None:
            message = "a lattice needs a name: `%%lattice NAME(parameters)`"
            raise CellRefused(message)
        cell = read_cell(text, first_line, flags)
        if cell.is_async:
            message = f"the lattice {header.name!r} awaits; a lattice only composes, so await inside an electron"
            raise CellRefused(message)
        names = names_of(cell, self.kind, given=header.parameters)
        outputs = header.outputs or ()
        check_outputs(header.name, outputs, cell, header.parameters)
        arguments = header.arguments if header.arguments is not None else arguments_of(())
        recipe = Recipe(header.name, arguments, outputs, prelude=names.prelude)
        made = self.namespace[header.name] = lattice(function_of(cell, recipe, self.namespace, kind="lattice"))
        self._wired.pop(header.name, None)
        return made

    def wire(
        self, name: str, arguments: ast.arguments | None = None, wanted: Sequence[str] | None = None
    ) -> tuple[Lattice, str]:
        """Wire all electron cells into a lattice; return it and its Python source.

        Without `arguments` its parameters are those of the cell that is tagged `parameters`, if there is one.

        Raises
        ------
        CellRefused
            If a value is missing.
        """
        if arguments is None:
            tagged = [one.part.cell for one in self._electrons.values() if one.part.holds_parameters]
            arguments = default_arguments(tagged[-1].tree) if tagged else None
        return self._wire(name, tuple(self._electrons), arguments, None if wanted is None else tuple(wanted))

    def _wire(
        self, name: str, cells: tuple[str, ...], arguments: ast.arguments | None, wanted: tuple[str, ...] | None
    ) -> tuple[Lattice, str]:
        parts = [one.part for key, one in self._electrons.items() if key in cells]
        wiring = wire(
            name, parts, self.kind, arguments=arguments, wanted=wanted, reach=self._reach, known=self.namespace
        )
        made = lattice(self._assemble(wiring)[0])
        self.namespace[name] = made
        self._wired[name] = _Wired(made, cells, arguments, wanted)
        return made, wiring.source

    def single(self, made: CellElectron) -> tuple[Lattice, Build]:
        """Return a lattice of one electron, with its inputs taken from the notebook when it is dispatched.

        What is returned beside it has what was sent, once it is dispatched.

        Raises
        ------
        CellRefused
            If the notebook does not have an input.
        """
        part = made.part
        if part.in_session:
            refuse_alone(part.cell, self.namespace)
            warn_of_settings(part.name, part.cell, self.namespace)
        wiring = wire(
            f"run_{part.name}", [part], self.kind, whole=True, reach=self._reach, known=self.namespace, lost=self._lost
        )
        function, build = self._assemble(wiring, waits=True)
        function.__name__ = function.__qualname__ = part.name
        return lattice(function), build

    def expect(self, cell: Expected) -> None:
        """Record that the names of a cell are being made."""
        self._pending.append(cell)

    def arrived(self, cell: Expected) -> None:
        """Record that they are here, or will never be."""
        self._pending.remove(cell)

    def expected(self, names: Iterable[str]) -> dict[Expected, list[str]]:
        """Return the cells that are making some of these names, with the names."""
        wanted = set(names)
        unknown = {name for name in wanted if name not in self.namespace and name not in BUILTINS} - {
            *SETTINGS.values()
        }
        found = {cell: cell.names | unknown if cell.hides_names else cell.names for cell in self._pending}
        waited = {cell: sorted(wanted & making) or cell.shares(wanted) for cell, making in found.items()}
        return {cell: names for cell, names in waited.items() if names}

    @property
    def is_waiting(self) -> bool:
        """Whether the names of any cell are being made."""
        return bool(self._pending)

    def enter_context(self) -> None:
        """Set what belongs to the context of the thread that runs the cells; they begin with this."""
        while self._for_context:
            hidden_state.apply(self._for_context.pop(0))

    def deliver_outputs(self, made: CellElectron, value: Any) -> list[str]:
        """Put the outputs of a cell that is a function into the notebook; return the names that got a value."""
        if not made.outputs:
            return []
        values = (value,) if len(made.outputs) == 1 else tuple(value)
        found = {name: one for name, one in zip(made.outputs, values, strict=True) if not isinstance(one, Missing)}
        self.namespace.update(found)
        return list(found)

    def deliver(self, record: CellRecord, sent: Sent) -> Delivered:
        """Put what a cell has made into the notebook, and change what it changed in the notebook's own objects.

        Parameters
        ----------
        record
            What the cell has left.
        sent
            What was sent to it.

        Raises
        ------
        CovalabError
            If that fails; the message says what of the notebook has changed nevertheless.
        """
        reply = record.reply
        assert reply is not None
        remember_all(record.sources)
        if record.state.hidden_change:  # before anything else: it may say where modules are
            change = pickle.loads(record.state.hidden_change)  # noqa: S301 - of the user's own data folder
            hidden_state.apply(change)
            local = {name: part for name, part in change.parts.items() if name in _OF_A_CONTEXT}
            if local:
                self._for_context.append(hidden_state.HiddenState(local))
        importlib.invalidate_caches()  # the cell may have written modules
        with hidden_state.kept_generators():
            delivered = deliver(sent, reply, self.namespace)
        for name in (*delivered.names, *delivered.changed):
            self._lost.pop(name, None)
        self._lost.update(delivered.unsendable)
        return delivered

    def _assemble(self, wiring: Wiring, *, waits: bool = False) -> tuple[types.FunctionType, Build]:
        """Compile the source of a lattice around its electrons. `waits`: the notebook waits for what becomes of it.

        The source is put into a factory function that takes the electrons as parameters: so the lattice calls its own
        versions of them, compiled for its wiring, and not those in the namespace.
        """
        known = {one.part.name: one for one in self._electrons.values()}
        build = Build(self.namespace, base=self._base, waits=waits)
        cells = [part for part, _ in wiring.electrons if part.in_session]
        n_read = number_before_history([(part.cell.text, part.cell.tree) for part in cells])
        with_history = {part.name for part in cells[:n_read]}
        electrons: dict[str, Callable[..., Any]] = {
            part.name: self._in_session(known[part.name], wiring, build, history=part.name in with_history)
            if part.in_session
            else as_electron(function_of(part.cell, recipe, self.namespace), known[part.name].options)
            for part, recipe in wiring.electrons
        }
        filename = filename_for("lattice", wiring.name, wiring.source)
        module = ast.parse(f"def {wiring.name}(): return {wiring.name}")
        factory = module.body[0]
        assert isinstance(factory, ast.FunctionDef)
        factory.args = arguments_of([NOTEBOOK, NAMES, RESULTS, *electrons])
        factory.body = [*ast.parse(wiring.source, filename).body, *factory.body]
        found: dict[str, Any] = {}
        code = compile(ast.fix_missing_locations(module), filename, "exec", dont_inherit=True)
        exec(code, self.namespace, found)  # noqa: S102 - source from `wiring`, made of the user's own names
        function: types.FunctionType = found[wiring.name](from_notebook, notebook_names, results_of, **electrons)
        function.__qualname__ = wiring.name
        function.__covalab_source__ = wiring.source  # type: ignore[attr-defined]
        remember(filename, wiring.source)
        return function, build

    def _in_session(self, made: CellElectron, wiring: Wiring, build: Build, *, history: bool) -> SessionCall:
        """Return what a bare cell is in a lattice: it takes the session and returns it."""
        part = made.part
        filename = filename_for("electron", part.name, part.cell.text)
        remember(filename, part.cell.text)
        bound = tuple(part.cell.scope.bindings)
        parameters = bound if part.holds_parameters else ()
        text = CellText(part.cell.text, made.first_line, filename, parameters, bound, history=history)
        function = SessionCell(part.name, text)
        flows = wiring.flows.get(part.name, {})
        return SessionCall(part.name, as_electron(function, made.options), flows, build, made.seen)

    def _reach(self, part: str, names: Sequence[str]) -> list[str]:
        seen = next((one.seen for one in self._electrons.values() if one.part.name == part), None)
        return sorted(reached(names, self.namespace)) if seen is None else seen.reach(names)


def from_notebook(value: Any) -> Any:
    """Return a value of the notebook, wrapped so that it enters a graph in one piece and arrives as itself.

    Covalent's API takes lists, sets and dicts apart, one node per element; a cell expects the object it had.
    """
    if active() is None or not isinstance(value, (list, tuple, set, dict)):
        return value
    return _Whole.recorded(text_of(value), lambda: value)


class _Whole(TransportableObject):
    """A value in one piece, with its own text as the name of its node."""

    def __str__(self) -> str:
        return self.object_string
