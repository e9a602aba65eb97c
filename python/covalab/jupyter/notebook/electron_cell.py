"""Electron of a cell: how the cell becomes a function, with which parameters and outputs."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from covalab.jupyter.cells.cell import Cell, Names, read_cell
from covalab.jupyter.cells.compiling import Recipe, arguments_of, data_message, function_of, listed
from covalab.jupyter.cells.header import CellHeader, parameter_names
from covalab.jupyter.cells.ipython_lines import CellRefused
from covalab.sdk.building.electron import electron
from covalab.sdk.building.options import RetryOptions

UNNAMED: Final = "cell"
"""Name for a cell that sets and changes nothing."""


class Options(msgspec.Struct, frozen=True):
    """Options of an electron; see `covalab.electron`."""

    executor: Any = None
    retries: int = 0
    time_limit: float | None = None
    retry_on: tuple[str, ...] = ()
    retry_delay: float | None = None
    pip: tuple[str, ...] = ()
    bash: tuple[str, ...] = ()
    resources: dict[str, float] = {}
    memory: str | None = None
    cores: int = 1

    @property
    def is_plain(self) -> bool:
        """Whether the cell can run where the others of its session do: it needs nothing of its own."""
        return not (self.executor or self.pip or self.bash or self.resources or self.memory or self.cores > 1)


def recipe_of(
    name: str,
    header: CellHeader,
    names: Names,
    outputs: tuple[str, ...],
    imports: Mapping[str, Sequence[str]],
) -> Recipe:
    """Return how to compile a cell. `imports`: statements of other electron cells, by the name they import.

    A cell without a signature is compiled tolerantly: it was written for a notebook, where a name may stay unset as
    long as nothing reads it. A signature and names after `->` are promises, and breaking one is an error.
    """
    found = header.arguments is None
    inputs = (*names.inputs, *names.unknown)
    # Without a signature, an unknown name is an input that a later cell may make; with one, it can only be code.
    carried = names.carried if found else (*names.carried, *names.unknown)
    promised = header.outputs is not None
    return Recipe(
        name=name,
        arguments=arguments_of(inputs) if header.arguments is None else header.arguments,
        outputs=outputs,
        prelude=(*names.prelude, *(one for name in names.carried for one in imports.get(name, ()))),
        carried=tuple(one for one in carried if one not in imports),
        allow_missing=not promised,
        maybe_missing={one: one not in names.optional for one in inputs} if found else {},
        leftovers=frozenset() if promised else frozenset(outputs),
    )


def function_if_possible(
    text: str, first_line: int, flags: int, recipe: Recipe, namespace: dict[str, Any]
) -> Callable[..., Any]:
    """Return a bare cell as a function, for lattices that call it; what needs the session says so when it is called."""
    try:
        return function_of(read_cell(text, first_line, flags), recipe, namespace)
    except CellRefused as refused:
        message = f"the cell {recipe.name!r} cannot be called as a function ({refused}); wire it with %lattice NAME"

    def only_in_session(*_: Any, **__: Any) -> None:
        raise CellRefused(message)

    only_in_session.__name__ = only_in_session.__qualname__ = recipe.name
    return only_in_session


def as_electron(function: Callable[..., Any], options: Options) -> Callable[..., Any]:
    """Return the electron of a cell's function."""
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
        resources=options.resources,
        memory=options.memory,
        cores=options.cores,
        **retry,
    )


def outputs_of(name: str, header: CellHeader, cell: Cell, names: Names) -> tuple[str, ...]:
    """Return the names that an electron returns: those after `->`, or those that the cell makes."""
    if header.outputs is not None:
        parameters = header.parameters if header.arguments is not None else names.inputs
        check_outputs(name, header.outputs, cell, parameters)
        return header.outputs
    if header.arguments is not None and cell.ends_with_value:
        return ()
    return names.outputs


def check_outputs(name: str, outputs: Iterable[str], cell: Cell, parameters: Iterable[str]) -> None:
    """Refuse names after `->` that the cell never sets."""
    parameters = frozenset(parameters)
    never = [output for output in outputs if output not in cell.scope.bindings and output not in parameters]
    if never:
        sets = listed(sorted(cell.scope.bindings)) if cell.scope.bindings else "no names at all"
        message = f"{name!r} promises {listed(never)} after `->`, but its cell does not set that; it sets {sets}"
        raise CellRefused(message)


def check_signature(name: str, arguments: ast.arguments, cell: Cell, names: Names) -> None:
    """Refuse a signature without a name that the cell needs."""
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


def name_from(names: Names) -> str:
    """Return a name for a cell that has none: made of its new outputs, or of the names that it changes."""
    inputs = {*names.inputs, *names.unknown}
    fresh = [name for name in names.outputs if name not in inputs]
    if fresh:
        return "make_" + "_".join(fresh[:2])
    return "update_" + "_".join(names.outputs[:2]) if names.outputs else UNNAMED
