"""Wiring of the electron cells of a notebook into one lattice, written as ordinary Python. Pure."""

from __future__ import annotations

import ast
from collections.abc import Collection, Mapping, Sequence

import msgspec

from covalab.jupyter.cells.cell import KindOf
from covalab.jupyter.cells.compiling import Recipe
from covalab.jupyter.cells.header import parameter_names
from covalab.jupyter.cells.ipython_lines import CellRefused
from covalab.jupyter.notebook.lattice_source import FUNCTIONS, function_source, session_source
from covalab.jupyter.notebook.linking import Linker, Reach, Returned, WiredElectron


class Wiring(msgspec.Struct, frozen=True):
    """A lattice: its source, its electrons with the recipe for each, and the names that it takes from the notebook.

    `flows` are, for each cell of the session, the cells that make what it uses, with the names.
    """

    name: str
    source: str
    electrons: list[tuple[WiredElectron, Recipe]]
    from_notebook: tuple[str, ...]
    flows: dict[str, dict[str, list[str]]] = {}


def wire(
    name: str,
    parts: Sequence[WiredElectron],
    notebook: KindOf,
    *,
    arguments: ast.arguments | None = None,
    wanted: Sequence[str] | None = None,
    whole: bool = False,
    reach: Reach = lambda _part, names: names,
    known: Collection[str] = (),
    lost: Mapping[str, str] = {},
) -> Wiring:
    """Wire electron cells into a lattice.

    Parameters
    ----------
    name
        The lattice's name.
    parts
        The electron cells in the order of the notebook; no two of the same name.
    notebook
        Returns the kind of a name in the notebook's namespace.
    arguments
        The lattice's parameters; they replace values that would come from the notebook.
    wanted
        The names that the lattice returns, and then only the cells that these need are wired; by default all cells, and
        a dict of all outputs that no other cell uses.
    whole
        Return the value of the last cell as it is.
    reach
        Returns names of the notebook, and those that their code reads, as they were when a part was run.
    known
        The names of the notebook, of which the nearest is named where one is missing.
    lost
        Names that cells with `--run` made and that could not come to the notebook, with the reason.

    Raises
    ------
    CellRefused
        If a value that a cell needs is nowhere, or cells need each other in a circle.
    """
    if not parts:
        message = "there is no electron cell yet; put %%electron on the first line of the cells to wire, and run them"
        raise CellRefused(message)
    if any(part.name == name for part in parts):
        message = f"{name!r} is already the name of an electron of this notebook; give the lattice another one"
        raise CellRefused(message)
    if name in FUNCTIONS:
        message = f"{name!r} is a word that covalab itself uses in lattices; give this one another name"
        raise CellRefused(message)
    work = Linker(name, parts, notebook, parameter_names(arguments) if arguments is not None else (), reach)
    work.known, work.lost, work.is_single = known, lost, whole
    if whole:
        # The value of one cell as it is: `%%electron --run`.
        returned: list[Returned] = [(parts[-1].name, len(parts) - 1, None)]
        work.link_with_dependencies([len(parts) - 1])
    elif wanted is not None:
        returned = [work.last_maker(output) for output in wanted]
        last = max((position for _, position, _ in returned if parts[position].in_session), default=-1)
        # The cells of a session before it may have changed what it needs in ways that no name shows.
        before = [position for position in range(last) if parts[position].in_session]
        work.link_with_dependencies([*before, *(position for _, position, _ in returned)])
    else:
        # In this order: which outputs are unused is known when all links are.
        work.link_with_dependencies(range(len(parts)))
        returned = work.unused()
    order = work.order()
    recipes = {position: work.recipe(position, None if wanted is None else returned) for position in order}
    electrons = [(parts[position], recipes[position]) for position in order]
    if any(part.in_session for part, _ in electrons):
        source = session_source(work, order, recipes, returned, arguments, wanted=wanted, whole=whole)
    else:
        source = function_source(work, order, recipes, returned, arguments, as_dict=wanted is None and not whole)
    return Wiring(name, source, electrons, tuple(work.from_notebook), work.flows())
