"""How the electron cells of a notebook become one lattice: who makes the value that each of them needs.

Pure. A name comes from the last cell before that makes it; else from the lattice's parameters, else from the notebook's
namespace, else from a cell further down (cells are run in any order). A cell that both takes and makes a name is a link
in a chain. The lattice is written as the Python that a person would write, so that it can be read and shown.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal, TypeAlias

import msgspec

from covalab.jupyter.cells.cell import Cell, KindOf, Names, names_of
from covalab.jupyter.cells.compiling import Recipe, arguments_of, data_message, listed
from covalab.jupyter.cells.header import parameter_names
from covalab.jupyter.cells.ipython_lines import CellRefused

NOTEBOOK = "notebook"
"""What the written lattice calls the function that takes a value from the notebook as one parameter."""


class WiredElectron(msgspec.Struct, frozen=True):
    """An electron cell. `arguments` and `outputs` are None where its line leaves them to be found."""

    name: str
    cell: Cell
    arguments: ast.arguments | None = None
    outputs: tuple[str, ...] | None = None

    @property
    def available(self) -> Collection[str]:
        """The names that other cells can have from it."""
        if self.outputs is not None:
            return self.outputs
        if self.arguments is not None and self.cell.ends_with_value:
            return ()
        return self.cell.scope.bindings.keys() | self.cell.scope.changes.keys()

    @property
    def imports(self) -> dict[str, tuple[str, ...]]:
        """The names that it always imports, with the statements: other cells repeat them instead of being sent them."""
        return {} if self.outputs is not None else self.cell.scope.imports


Origin: TypeAlias = "int | Literal['notebook', 'parameter']"
"""Where a value comes from: a part by its position, the notebook's namespace, or a parameter of the lattice."""


Returned: TypeAlias = "tuple[str, int, str | None]"
"""A part of what the lattice returns: under which name, from which part, which output (None: its whole value)."""


class Link(msgspec.Struct, frozen=True):
    """One argument of one call."""

    parameter: str
    origin: Origin
    keyword: bool


class Wiring(msgspec.Struct, frozen=True):
    """A lattice: its source, the electrons it calls with how to compile each, and what it takes from the notebook."""

    name: str
    source: str
    electrons: list[tuple[WiredElectron, Recipe]]
    from_notebook: tuple[str, ...]


def wire(
    name: str,
    parts: Sequence[WiredElectron],
    notebook: KindOf,
    *,
    arguments: ast.arguments | None = None,
    wanted: Sequence[str] | None = None,
    whole: bool = False,
) -> Wiring:
    """Wire electron cells into a lattice.

    Parameters
    ----------
    name
        The lattice's name.
    parts
        The electron cells in the order of the notebook; no two of the same name.
    notebook
        Says what a name is in the notebook's namespace.
    arguments
        The lattice's parameters; they stand in for what would come from the notebook.
    wanted
        The names that the lattice returns, and then only the cells that these need are wired; by default all cells, and
        a dict of everything that no other cell uses.
    whole
        Return the value of the last cell as it is.

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
    work = _Work(name, parts, notebook, parameter_names(arguments) if arguments is not None else ())
    if whole:
        returned: list[Returned] = [(parts[-1].name, len(parts) - 1, None)]
        work.link_with_what_they_need([len(parts) - 1])
    elif wanted is not None:
        returned = [work.last_maker(output) for output in wanted]
        work.link_with_what_they_need(position for _, position, _ in returned)
    else:
        work.link_with_what_they_need(range(len(parts)))
        returned = work.unused()
    order = work.order()
    recipes = {position: work.recipe(position, None if wanted is None else returned) for position in order}
    source = _written(work, order, recipes, returned, arguments, as_dict=wanted is None and not whole)
    electrons = [(parts[position], recipes[position]) for position in order]
    return Wiring(name, source, electrons, tuple(work.taken))


class _Work:
    """Everything that is found out on the way."""

    def __init__(self, name: str, parts: Sequence[WiredElectron], notebook: KindOf, parameters: Sequence[str]) -> None:
        self.name = name
        self.parts = parts
        self.notebook = notebook
        self.parameters = frozenset(parameters)
        self.names: dict[int, Names] = {}
        self.links: dict[int, list[Link]] = {}
        self.prelude: dict[int, tuple[str, ...]] = {}
        self.asked: list[dict[str, None]] = [{} for _ in parts]  # outputs that other cells use, in order of asking
        self.taken: dict[str, None] = {}

    def link_with_what_they_need(self, positions: Iterable[int]) -> None:
        """Link parts, and the parts that make what they need."""
        waiting = sorted(set(positions), reverse=True)
        while waiting:
            position = waiting.pop()
            if position not in self.links:
                self._link(position)
                waiting += [one.origin for one in self.links[position] if isinstance(one.origin, int)]

    def _link(self, position: int) -> None:
        """Find where the inputs of one part come from."""
        part = self.parts[position]
        given = None if part.arguments is None else parameter_names(part.arguments)
        scope = part.cell.scope
        unset = [name for name, binding in scope.bindings.items() if not binding.sure]
        kept = [*scope.reads_after_empty, *unset] if given is None else []
        coming = {
            wanted: origin
            for wanted in (*scope.reads, *(given or ()), *kept)
            if (origin := self._origin(position, wanted)) is not None
        }
        imported = {
            wanted
            for wanted, origin in coming.items()
            if isinstance(origin, int) and wanted in self.parts[origin].imports and not part.cell.sets(wanted)
        }
        made = {wanted for wanted, origin in coming.items() if origin != "notebook"} - imported
        names = names_of(
            part.cell, lambda wanted: "code" if wanted in imported else self.notebook(wanted), made=made, given=given
        )
        statements = [
            statement
            for wanted in names.carried
            if wanted in imported and isinstance(origin := coming[wanted], int)
            for statement in self.parts[origin].imports[wanted]
        ]
        self.prelude[position] = (*names.prelude, *statements)
        self.names[position] = msgspec.structs.replace(
            names, carried=tuple(name for name in names.carried if name not in imported)
        )
        if part.arguments is None:
            links = [Link(wanted, self._need(position, wanted, coming), keyword=False) for wanted in names.inputs]
            for wanted in names.unknown:
                self._need(position, wanted, coming)
        else:
            links = self._fill(position, part.arguments, coming)
            hidden = [wanted for wanted in names.inputs if wanted not in parameter_names(part.arguments)]
            if hidden:
                raise CellRefused(data_message(part.name, hidden))
        self.links[position] = links
        for one in links:
            if isinstance(one.origin, int):
                self.asked[one.origin][one.parameter] = None
            elif one.origin == "notebook":
                self.taken[one.parameter] = None

    def _origin(self, position: int, wanted: str) -> Origin | None:
        for before in range(position - 1, -1, -1):
            part = self.parts[before]
            if wanted in part.available:
                return before
            if part.outputs is None and wanted in part.cell.scope.deleted:
                message = (
                    f"electron {self.parts[position].name!r} needs {wanted!r}, which electron {part.name!r} deletes; "
                    "remove the `del`, or make the value in another cell"
                )
                raise CellRefused(message)
        if wanted in self.parameters:
            return "parameter"
        if self.notebook(wanted) != "none":
            return "notebook"
        scope = self.parts[position].cell.scope
        if self.parts[position].arguments is not None or (wanted in scope.reads and wanted not in scope.unsure):
            for after in range(position + 1, len(self.parts)):
                if wanted in self.parts[after].available:
                    return after
        return None

    def _need(self, position: int, wanted: str, coming: dict[str, Origin]) -> Origin:
        origin = coming.get(wanted)
        if origin is None:
            raise CellRefused(self._missing(position, wanted))
        return origin

    def _missing(self, position: int, wanted: str) -> str:
        part = self.parts[position]
        line = part.cell.scope.reads.get(wanted)
        where = f" (line {line} of its cell)" if line else ""
        return (
            f"electron {part.name!r} needs {wanted!r}{where}, but no electron cell makes it and the notebook has no "
            f"such name; run the cell that makes {wanted!r}, make it a parameter, %lattice {self.name}({wanted}), or "
            f"name what the lattice is to return, so that only the cells for that are used: "
            f"%lattice {self.name} --output NAME"
        )

    def _fill(self, position: int, arguments: ast.arguments, coming: dict[str, Origin]) -> list[Link]:
        """Fill the parameters of a signature; what has a default is filled only by a cell or by the lattice."""
        links: list[Link] = []
        positional = [*arguments.posonlyargs, *arguments.args]
        n_required = len(positional) - len(arguments.defaults)
        gap = False
        for index, argument in enumerate(positional):
            origin = coming.get(argument.arg)
            if index >= n_required and (origin is None or origin == "notebook"):
                gap = True
                continue
            origin = self._need(position, argument.arg, coming)
            if gap and index < len(arguments.posonlyargs):
                continue
            links.append(Link(argument.arg, origin, keyword=gap))
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
            origin = coming.get(argument.arg)
            if default is None or not (origin is None or origin == "notebook"):
                links.append(Link(argument.arg, self._need(position, argument.arg, coming), keyword=True))
        return links

    def order(self) -> list[int]:
        """Return the parts in an order in which they can run, as near to the notebook's as possible."""
        waiting = sorted(self.links)
        done: list[int] = []
        while waiting:
            for position in waiting:
                if all(one.origin in done for one in self.links[position] if isinstance(one.origin, int)):
                    done.append(position)
                    waiting.remove(position)
                    break
            else:
                names = listed([self.parts[position].name for position in waiting])
                message = (
                    f"the electrons {names} need each other's values in a circle; give one of the values another name"
                )
                raise CellRefused(message)
        return done

    def unused(self) -> list[Returned]:
        """Return whatever no other cell uses; of a cell that leaves no names, its value."""
        found: dict[str, Returned] = {}
        for position, part in enumerate(self.parts):
            outputs = self._outputs(position)
            for output in outputs:
                if output not in self.asked[position]:
                    found.pop(output, None)
                    found[output] = (output, position, output)
            if not outputs and not self.asked[position]:
                found[part.name] = (part.name, position, None)
        return list(found.values())

    def _outputs(self, position: int) -> tuple[str, ...]:
        part = self.parts[position]
        if part.outputs is not None:
            return part.outputs
        if part.arguments is not None and part.cell.ends_with_value:
            return ()
        return self.names[position].outputs

    def last_maker(self, name: str) -> Returned:
        """Return who makes a name at last; the name of an electron is its whole value."""
        for position in range(len(self.parts) - 1, -1, -1):
            if name in self.parts[position].available:
                return name, position, name
            if name == self.parts[position].name:
                return name, position, None
        made = sorted({name for part in self.parts for name in part.available})
        message = f"no electron cell makes the output {name!r}; they make {listed(made) if made else 'no names at all'}"
        raise CellRefused(message)

    def recipe(self, position: int, wanted: Sequence[Returned] | None) -> Recipe:
        """Say how one part is to be compiled for this lattice. `wanted`: what was asked for by name, if anything."""
        part, names = self.parts[position], self.names[position]
        asked = self.asked[position]
        outputs = self._outputs(position)
        leftovers: frozenset[str] = frozenset()
        if part.outputs is None:
            if wanted is not None:
                named = [output for _, maker, output in wanted if maker == position and output is not None]
                outputs = tuple(dict.fromkeys([*asked, *named]))
            else:
                outputs = tuple(dict.fromkeys([*outputs, *asked]))
                leftovers = frozenset(outputs) - asked.keys()
        arguments = part.arguments if part.arguments is not None else arguments_of(names.inputs)
        return Recipe(
            name=part.name,
            arguments=arguments,
            outputs=outputs,
            prelude=self.prelude[position],
            travelling=(*names.carried, *names.unknown),
            forgiving=part.outputs is None,
            arriving_unset={
                one.parameter: one.parameter not in names.optional
                for one in self.links[position]
                if isinstance(one.origin, int) and self._may_be_unset(one.origin, one.parameter)
            },
            leftovers=leftovers,
        )

    def _may_be_unset(self, position: int, name: str) -> bool:
        part = self.parts[position]
        binding = part.cell.scope.bindings.get(name)
        return part.outputs is None and binding is not None and not binding.sure


def _written(
    work: _Work,
    order: Sequence[int],
    recipes: Mapping[int, Recipe],
    returned: Sequence[Returned],
    arguments: ast.arguments | None,
    *,
    as_dict: bool,
) -> str:
    """Write the lattice as Python."""
    taken_names = {*work.taken, *(part.name for part in work.parts), NOTEBOOK}
    in_order = list(order) == sorted(order)

    def variable(position: int, output: str | None) -> str:
        part = work.parts[position]
        if output is None:
            return f"{part.name}_value"
        makers = sum(output in recipe.outputs for recipe in recipes.values())
        if output in taken_names or (not in_order and (makers > 1 or output in work.parameters)):
            return f"{output}_of_{part.name}"
        return output

    def argument(one: Link) -> str:
        if isinstance(one.origin, int):
            text = variable(one.origin, one.parameter)
        else:
            text = f"{NOTEBOOK}({one.parameter})" if one.origin == "notebook" else one.parameter
        return f"{one.parameter}={text}" if one.keyword else text

    signature = "" if arguments is None else ast.unparse(arguments)
    lines = [f"def {work.name}({signature}):"]
    used = {(maker, output) for _, maker, output in returned}
    for position in order:
        part, recipe = work.parts[position], recipes[position]
        call = f"{part.name}({', '.join(argument(one) for one in work.links[position])})"
        if recipe.outputs and (position, None) not in used:
            call = f"{', '.join(variable(position, output) for output in recipe.outputs)} = {call}"
        elif (position, None) in used:
            call = f"{variable(position, None)} = {call}"
        lines.append(f"    {call}")
    values = [(name, variable(maker, output)) for name, maker, output in returned]
    if as_dict:
        lines.append(f"    return {{{', '.join(f'{name!r}: {value}' for name, value in values)}}}")
    else:
        lines.append(f"    return {', '.join(value for _, value in values)}")
    return "\n".join(lines) + "\n"
