"""The electron cells and lattices of one notebook, as far as they were run in this kernel.

Holds the namespace and knows nothing of IPython: `magics` gives it text and shows what comes back. Cells stay in the
order in which they were first run; running one again replaces what it was.
"""

from __future__ import annotations

import ast
import types
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from covalab.core.missing import Missing
from covalab.core.source import filename_for, remember
from covalab.core.transportable import TransportableObject
from covalab.jupyter.cells.cell import Cell, Kind, Names, kind_of, names_of, read_cell
from covalab.jupyter.cells.compiling import Recipe, arguments_of, data_message, function_of, listed
from covalab.jupyter.cells.header import CellHeader, parameter_names
from covalab.jupyter.cells.ipython_lines import CellRefused
from covalab.jupyter.notebook.wiring import NOTEBOOK, WiredElectron, Wiring, wire
from covalab.sdk.building.electron import electron
from covalab.sdk.building.lattice import Lattice, lattice
from covalab.sdk.building.options import RetryOptions
from covalab.sdk.building.trace import active


class InPlaceWarning(UserWarning):
    """A cell may change an input in place, and the change would stay on the worker."""


class Options(msgspec.Struct, frozen=True):
    """How an electron is to be run; see `covalab.electron`."""

    executor: Any = None
    retries: int = 0
    time_limit: float | None = None
    retry_on: tuple[str, ...] = ()
    retry_delay: float | None = None
    pip: tuple[str, ...] = ()
    bash: tuple[str, ...] = ()


class CellElectron(msgspec.Struct, frozen=True):
    """An electron cell: what it is, how it is run, and the call that it stands for, for people."""

    part: WiredElectron
    options: Options
    outputs: tuple[str, ...]
    shown: str


class _Wired(msgspec.Struct, frozen=True):
    """A lattice that `%lattice` wired, so that it can be wired again when one of its cells was."""

    lattice: Lattice
    cells: tuple[str, ...]
    arguments: ast.arguments | None
    wanted: tuple[str, ...] | None


class Session:
    """What the magics know about their notebook.

    Parameters
    ----------
    namespace
        The notebook's names.
    """

    def __init__(self, namespace: dict[str, Any]) -> None:
        self.namespace = namespace
        self._electrons: dict[str, CellElectron] = {}
        self._wired: dict[str, _Wired] = {}
        self._coming: dict[str, str] = {}

    @property
    def electrons(self) -> list[CellElectron]:
        """The electron cells in order."""
        return list(self._electrons.values())

    def kind(self, name: str) -> Kind:
        """Say what a name is in the notebook. Electrons and lattices of the notebook are code."""
        if name not in self.namespace:
            return "none"
        value = self.namespace[name]
        return "code" if isinstance(value, Lattice) else kind_of(value)

    # %%electron

    def define(
        self,
        heading: CellHeader,
        text: str,
        first_line: int,
        options: Options,
        *,
        name: str | None = None,
        key: str = "",
        flags: int = 0,
    ) -> CellElectron:
        """Make a cell an electron, in the notebook's namespace too.

        Parameters
        ----------
        heading
            What its first line says.
        text, first_line
            The whole cell, and where its code begins.
        options
            How it is run.
        name
            Its name, where the heading has none; found from its outputs, if not given.
        key
            Which cell of the notebook it is; the same cell again replaces the electron. By default its name.
        flags
            The notebook's `__future__` flags.

        Raises
        ------
        CellRefused
            If the cell cannot be an electron.
        """
        cell = read_cell(text, first_line, flags)
        others = [one.part for known, one in self._electrons.items() if known != key]
        made = {name for part in others for name in part.available if name not in part.imports}
        # What another electron cell imports is no name of the notebook, because that cell is not run here.
        imported = {name: part.imports[name] for part in others for name in part.imports if self.kind(name) == "none"}
        names = names_of(
            cell,
            lambda name: "code" if name in imported else self.kind(name),
            made=made,
            given=None if heading.arguments is None else heading.parameters,
        )
        name = heading.name or name or self._free_name(_name_from(names), key)
        if heading.arguments is not None:
            _check_signature(name, heading.arguments, cell, names)
        outputs = _outputs(name, heading, cell, names)
        if heading.arguments is None:
            _warn_of_changes(name, cell, names, outputs)
        arguments = heading.arguments
        if arguments is None:
            arguments = arguments_of((*names.inputs, *names.unknown))
        recipe = Recipe(
            name=name,
            arguments=arguments,
            outputs=outputs,
            prelude=(*names.prelude, *(one for name in names.carried for one in imported.get(name, ()))),
            travelling=tuple(
                one
                for one in (*names.carried, *(names.unknown if heading.arguments is not None else ()))
                if one not in imported
            ),
            forgiving=heading.outputs is None,
            arriving_unset={}
            if heading.arguments is not None
            else {one: one not in names.optional for one in (*names.inputs, *names.unknown)},
            leftovers=frozenset(outputs) if heading.outputs is None else frozenset(),
        )
        function = function_of(cell, recipe, self.namespace)
        part = WiredElectron(name, cell, heading.arguments, heading.outputs)
        shown = f"{name}({ast.unparse(arguments)})" + (f" -> {', '.join(outputs)}" if outputs else "")
        made_electron = CellElectron(part, options, outputs, shown)
        self.namespace[name] = _as_electron(function, options)
        self._keep(key or name, made_electron)
        return made_electron

    def _keep(self, key: str, made: CellElectron) -> None:
        """Put an electron where its cell was before; another cell that had its name gives way."""
        replaced = {known for known, one in self._electrons.items() if one.part.name == made.part.name} | {key}
        for known in replaced - {key}:
            del self._electrons[known]
        self._electrons[key] = made
        for name, wired in list(self._wired.items()):
            if self.namespace.get(name) is not wired.lattice or not replaced.intersection(wired.cells):
                continue
            cells = tuple(dict.fromkeys(key if known in replaced else known for known in wired.cells))
            try:
                self._wire(name, cells, wired.arguments, wired.wanted)
            except CellRefused as refused:
                message = f"the lattice {name!r} stays as it was, it cannot be wired with this cell: {refused}"
                warnings.warn(message, stacklevel=3)

    def _free_name(self, wanted: str, key: str) -> str:
        """Return a name that nothing else in the notebook has."""
        mine = self._electrons.get(key)
        taken = {one.part.name for known, one in self._electrons.items() if key and known != key}
        name, number = wanted, 1
        while name in taken or (
            name in self.namespace
            and not hasattr(self.namespace[name], "electron_object")
            and not (mine is not None and mine.part.name == name)
        ):
            number += 1
            name = f"{wanted}_{number}"
        return name

    # %%lattice, %lattice, --run

    def define_lattice(self, heading: CellHeader, text: str, first_line: int, flags: int = 0) -> Lattice:
        """Make a cell a lattice, in the notebook's namespace too.

        Raises
        ------
        CellRefused
            If the cell cannot be one.
        """
        if heading.name is None:
            message = "a lattice needs a name: `%%lattice NAME(parameters)`"
            raise CellRefused(message)
        cell = read_cell(text, first_line, flags)
        if cell.is_async:
            message = f"the lattice {heading.name!r} awaits; a lattice only composes, so await inside an electron"
            raise CellRefused(message)
        names = names_of(cell, self.kind, given=heading.parameters)
        outputs = heading.outputs or ()
        _check_outputs(heading.name, outputs, cell, heading.parameters)
        arguments = heading.arguments if heading.arguments is not None else arguments_of(())
        recipe = Recipe(heading.name, arguments, outputs, prelude=names.prelude)
        made = self.namespace[heading.name] = lattice(function_of(cell, recipe, self.namespace, kind="lattice"))
        self._wired.pop(heading.name, None)
        return made

    def wire(
        self, name: str, arguments: ast.arguments | None = None, wanted: Sequence[str] | None = None
    ) -> tuple[Lattice, str]:
        """Wire all electron cells into a lattice; return it and the Python that it amounts to.

        Raises
        ------
        CellRefused
            If a value is missing.
        """
        return self._wire(name, tuple(self._electrons), arguments, None if wanted is None else tuple(wanted))

    def _wire(
        self, name: str, cells: tuple[str, ...], arguments: ast.arguments | None, wanted: tuple[str, ...] | None
    ) -> tuple[Lattice, str]:
        parts = [one.part for key, one in self._electrons.items() if key in cells]
        wiring = wire(name, parts, self.kind, arguments=arguments, wanted=wanted)
        made = lattice(self._assemble(wiring))
        self.namespace[name] = made
        self._wired[name] = _Wired(made, cells, arguments, wanted)
        return made, wiring.source

    def alone(self, made: CellElectron) -> Lattice:
        """Return a lattice of one electron, with its inputs taken from the notebook when it is dispatched.

        Raises
        ------
        CellRefused
            If the notebook does not have an input.
        """
        part = made.part
        for name in part.cell.scope.reads:
            if name in self._coming and self.kind(name) == "none":
                message = f"{name!r} is not here yet: electron {self._coming[name]!r} is still making it"
                raise CellRefused(message)
        wiring = wire(f"run_{part.name}", [part], self.kind, whole=True)
        function = self._assemble(wiring)
        function.__name__ = function.__qualname__ = part.name
        return lattice(function)

    def expect(self, made: CellElectron) -> None:
        """Remember that the outputs of an electron are being made."""
        self._coming.update(dict.fromkeys(made.outputs, made.part.name))

    def give_up(self, made: CellElectron) -> None:
        """Forget what `expect` remembered."""
        for name in made.outputs:
            self._coming.pop(name, None)

    def deliver(self, made: CellElectron, value: Any) -> list[str]:
        """Put the value of an electron into the notebook under the names of its outputs; return those that got one."""
        self.give_up(made)
        if not made.outputs:
            return []
        values = (value,) if len(made.outputs) == 1 else tuple(value)
        found = {name: one for name, one in zip(made.outputs, values, strict=True) if not isinstance(one, Missing)}
        self.namespace.update(found)
        return list(found)

    def _assemble(self, wiring: Wiring) -> types.FunctionType:
        """Compile a written lattice around its electrons."""
        options = {one.part.name: one.options for one in self._electrons.values()}
        electrons: dict[str, Callable[..., Any]] = {
            part.name: _as_electron(function_of(part.cell, recipe, self.namespace), options.get(part.name, Options()))
            for part, recipe in wiring.electrons
        }
        filename = filename_for("lattice", wiring.name, wiring.source)
        around = ast.parse(f"def {wiring.name}(): return {wiring.name}")
        factory = around.body[0]
        assert isinstance(factory, ast.FunctionDef)
        factory.args = arguments_of([NOTEBOOK, *electrons])
        factory.body = [*ast.parse(wiring.source, filename).body, *factory.body]
        found: dict[str, Any] = {}
        code = compile(ast.fix_missing_locations(around), filename, "exec", dont_inherit=True)
        exec(code, self.namespace, found)  # noqa: S102 - written by `wiring` from the user's own names
        function: types.FunctionType = found[wiring.name](from_notebook, **electrons)
        function.__qualname__ = wiring.name
        function.__covalab_source__ = wiring.source  # type: ignore[attr-defined]
        remember(filename, wiring.source)
        return function


def from_notebook(value: Any) -> Any:
    """Return a value of the notebook so that it enters a graph in one piece and arrives as itself.

    Covalent's API takes lists, sets and dicts apart, one node per element; a cell expects the object it had.
    """
    if active() is None or not isinstance(value, (list, tuple, set, dict)):
        return value
    return _Whole.recorded(str(value), lambda: value)


class _Whole(TransportableObject):
    """A value in one piece, called in the graph what it is called itself."""

    def __str__(self) -> str:
        return self.object_string


def _as_electron(function: Callable[..., Any], options: Options) -> Callable[..., Any]:
    retry: RetryOptions = {}
    if options.retry_on:
        retry["retry_on"] = options.retry_on
    if options.retry_delay is not None:
        retry["retry_delay"] = options.retry_delay
    return electron(
        function,
        executor=options.executor,
        retries=options.retries,
        time_limit=options.time_limit,
        deps_pip=options.pip,
        deps_bash=options.bash,
        **retry,
    )


def _outputs(name: str, heading: CellHeader, cell: Cell, names: Names) -> tuple[str, ...]:
    if heading.outputs is not None:
        parameters = heading.parameters if heading.arguments is not None else names.inputs
        _check_outputs(name, heading.outputs, cell, parameters)
        return heading.outputs
    if heading.arguments is not None and cell.ends_with_value:
        return ()
    return names.outputs


def _check_outputs(name: str, outputs: Iterable[str], cell: Cell, parameters: Iterable[str]) -> None:
    parameters = frozenset(parameters)
    never = [output for output in outputs if output not in cell.scope.bindings and output not in parameters]
    if never:
        sets = listed(sorted(cell.scope.bindings)) if cell.scope.bindings else "no names at all"
        message = f"{name!r} promises {listed(never)} after `->`, but its cell does not set that; it sets {sets}"
        raise CellRefused(message)


def _check_signature(name: str, arguments: ast.arguments, cell: Cell, names: Names) -> None:
    given = frozenset(parameter_names(arguments))
    hidden = [one for one in names.inputs if one not in given]
    if hidden:
        raise CellRefused(data_message(name, hidden))
    early = [one for one in names.unknown if cell.sets(one)]
    if early:
        message = (
            f"electron {name!r} reads {listed(early)} before it sets it; "
            f"add it to the signature: %%electron {name}(..., {', '.join(early)})"
        )
        raise CellRefused(message, cell.scope.reads[early[0]])


def _warn_of_changes(name: str, cell: Cell, names: Names, outputs: Sequence[str]) -> None:
    """Warn once of calls that may change inputs, and say what to do about it."""
    lost = [one for one in names.possible if one.name not in outputs]
    if not lost:
        return
    changed = list(dict.fromkeys(one.name for one in lost))
    calls = ", ".join(dict.fromkeys(f"`{one.call}`" for one in lost))
    message = (
        f"electron {name!r}: {calls} may change {listed(changed)} in place. That change stays on the worker, because "
        f"the electron has a copy; to hand it on, name what it returns: %%electron {name} -> "
        f"{', '.join(dict.fromkeys([*outputs, *changed]))}"
    )
    filename = filename_for("electron", name, cell.text)
    remember(filename, cell.text)
    warnings.warn_explicit(message, InPlaceWarning, filename, lost[0].line)


def _name_from(names: Names) -> str:
    """Return a readable name for a cell that has none: after what it makes, or what it changes."""
    inputs = {*names.inputs, *names.unknown}
    fresh = [name for name in names.outputs if name not in inputs]
    if fresh:
        return "make_" + "_".join(fresh[:2])
    return "update_" + "_".join(names.outputs[:2]) if names.outputs else "cell"
