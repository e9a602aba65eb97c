"""Links between electron cells: the origin of each value that a cell needs.

Pure. A name comes from the nearest earlier cell that makes it; else from the lattice's parameters, else from the
notebook's namespace, else from a later cell (cells are run in any order). Cells that both take and make a name form a
chain.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Literal, TypeAlias

import msgspec

from covalab.jupyter.cells.cell import BUILTINS, HISTORY, SPECIAL, Cell, KindOf, Names, names_of
from covalab.jupyter.cells.compiling import Recipe, arguments_of, data_message, listed
from covalab.jupyter.cells.header import parameter_names
from covalab.jupyter.cells.ipython_lines import CellRefused
from covalab.jupyter.cells.known_names import meant


class WiredElectron(msgspec.Struct, frozen=True):
    """An electron cell. `arguments` and `outputs` are None if its line has none: then they are found in the code.

    One that is `in_session` shares all names with the other such cells of its lattice, and runs in one process with
    them; any other is a function of its inputs.
    """

    name: str
    cell: Cell
    arguments: ast.arguments | None = None
    outputs: tuple[str, ...] | None = None
    in_session: bool = False
    holds_parameters: bool = False  # tagged `parameters` in the notebook: what it sets are defaults

    @property
    def available(self) -> Collection[str]:
        """The names that other cells can take from it."""
        if self.outputs is not None:
            return self.outputs
        if self.arguments is not None and self.cell.ends_with_value:
            return ()
        return self.cell.scope.bindings.keys() | self.cell.scope.changes.keys()

    @property
    def imports(self) -> dict[str, tuple[str, ...]]:
        """The names that it always imports, with the statements, which other cells repeat."""
        return {} if self.outputs is not None else self.cell.scope.imports


Reach: TypeAlias = Callable[[str, Sequence[str]], Sequence[str]]

Origin: TypeAlias = "int | Literal['notebook', 'parameter']"
"""Origin of a value: a part by its position, the notebook's namespace, or a parameter of the lattice."""


Returned: TypeAlias = "tuple[str, int, str | None]"
"""One value that the lattice returns: its name, the position of its part, and which output (None: its whole value)."""


class Link(msgspec.Struct, frozen=True):
    """One argument of one call."""

    parameter: str
    origin: Origin
    keyword: bool


class Linker:
    """Links between the parts of one lattice, found part by part.

    `names`, `links` and `prelude` are by position, and only of parts that the lattice uses.
    """

    def __init__(
        self, name: str, parts: Sequence[WiredElectron], notebook: KindOf, parameters: Sequence[str], reach: Reach
    ) -> None:
        self.name = name
        self.parts = parts
        self.notebook = notebook
        self.parameters = frozenset(parameters)
        self.reach = reach
        self.known: Collection[str] = ()
        self.lost: Mapping[str, str] = {}
        self.is_single = False  # one cell that was asked for with `--run`
        self.taken: dict[int, list[str]] = {}  # names that cells of the session take from the notebook, by position
        self.names: dict[int, Names] = {}
        self.links: dict[int, list[Link]] = {}
        self.prelude: dict[int, tuple[str, ...]] = {}
        # Dicts as ordered sets: the written lattice must be the same each time.
        self.used_outputs: list[dict[str, None]] = [{} for _ in parts]  # of each part, those that other cells use
        self.from_notebook: dict[str, None] = {}

    def link_with_dependencies(self, positions: Iterable[int]) -> None:
        """Link parts, and the parts that make their inputs."""
        pending = sorted(set(positions), reverse=True)
        while pending:
            position = pending.pop()
            if position not in self.links:
                if self.parts[position].in_session:
                    self._link_in_session(position)
                else:
                    self._link(position)
                pending += [one.origin for one in self.links[position] if isinstance(one.origin, int)]

    def _link(self, position: int) -> None:
        """Find the origins of the inputs of one part."""
        part = self.parts[position]
        given = None if part.arguments is None else parameter_names(part.arguments)
        origins = self._origins(position, given)
        # Names that another cell imports are imported here again, unless this cell changes them.
        imported = {
            wanted
            for wanted, origin in origins.items()
            if isinstance(origin, int) and wanted in self.parts[origin].imports and not part.cell.sets(wanted)
        }
        made = {wanted for wanted, origin in origins.items() if origin != "notebook"} - imported
        names = names_of(
            part.cell, lambda wanted: "code" if wanted in imported else self.notebook(wanted), made=made, given=given
        )
        statements = [
            statement
            for wanted in names.carried
            if wanted in imported and isinstance(origin := origins[wanted], int)
            for statement in self.parts[origin].imports[wanted]
        ]
        self.prelude[position] = (*names.prelude, *statements)
        self.names[position] = msgspec.structs.replace(
            names, carried=tuple(name for name in names.carried if name not in imported)
        )
        if part.arguments is None:
            links = [
                Link(wanted, self._origin_or_refuse(position, wanted, origins), keyword=False)
                for wanted in names.inputs
            ]
            for wanted in names.unknown:
                self._origin_or_refuse(position, wanted, origins)
        else:
            links = self._fill_signature(position, part.arguments, origins)
            hidden = [wanted for wanted in names.inputs if wanted not in parameter_names(part.arguments)]
            if hidden:
                raise CellRefused(data_message(part.name, hidden))
        self.links[position] = links
        for one in links:
            if isinstance(one.origin, int):
                self.used_outputs[one.origin][one.parameter] = None
            elif one.origin == "notebook":
                self.from_notebook[one.parameter] = None

    def _link_in_session(self, position: int) -> None:
        """Find what a cell of the session needs from elsewhere; the rest is in the session when its turn comes."""
        part = self.parts[position]
        cell, scope = part.cell, part.cell.scope
        needed = {name for name in scope.reads if name not in scope.unsure and name not in scope.deferred}
        unset = [name for name, binding in scope.bindings.items() if not binding.sure]
        touched = [*scope.reads, *scope.reads_after_empty, *unset, *scope.changes, *cell.text_names]
        links: list[Link] = []
        if part.holds_parameters:
            links = [Link(name, "parameter", keyword=True) for name in scope.bindings if name in self.parameters]
        taken: list[str] = []
        pending = list(dict.fromkeys(touched))
        seen = {one.parameter for one in links}
        while pending:
            wanted = pending.pop(0)
            if wanted in seen:
                continue
            seen.add(wanted)
            origin = self._origin(position, wanted, is_needed=wanted in needed)
            if origin == "notebook":
                taken.append(wanted)
                self.from_notebook[wanted] = None
                pending += self.reach(part.name, [wanted])
            elif origin is not None:
                links.append(Link(wanted, origin, keyword=True))
                if isinstance(origin, int):
                    self.used_outputs[origin][wanted] = None
            elif wanted in needed and wanted not in scope.bindings and not self._may_appear(position, wanted):
                raise CellRefused(self._missing(position, wanted))
        self.links[position], self.taken[position] = links, taken
        self.prelude[position] = ()

    def _may_appear(self, position: int, name: str) -> bool:
        """Return whether a name may be there although nothing names it."""
        if name in BUILTINS or name in SPECIAL or HISTORY.fullmatch(name) or name.startswith("__"):
            return True
        if "NameError" in self.parts[position].cell.scope.reads:  # it is prepared for that
            return True
        return any(part.in_session and part.cell.hides_names for part in self.parts[: position + 1])

    def flows(self) -> dict[str, dict[str, list[str]]]:
        """Return, for each cell of the session, the cells of it that make what it uses, with the names."""
        found: dict[str, dict[str, list[str]]] = {}
        for position, links in self.links.items():
            if self.parts[position].in_session:
                makers: dict[str, list[str]] = {}
                for one in links:
                    if isinstance(one.origin, int) and self.parts[one.origin].in_session:
                        makers.setdefault(self.parts[one.origin].name, []).append(one.parameter)
                found[self.parts[position].name] = makers
        return found

    def _origins(self, position: int, given: Iterable[str] | None) -> dict[str, Origin]:
        """Return the origins of all names that one part may take. `given`: its parameters, if it has a signature."""
        scope = self.parts[position].cell.scope
        # A cell that may leave a name unset keeps the name's earlier value, as in a notebook; so does one that needs
        # it after a loop over nothing. `names_of` decides which of these become inputs.
        unset = [name for name, binding in scope.bindings.items() if not binding.sure]
        kept = [*scope.reads_after_empty, *unset] if given is None else []
        return {
            wanted: origin
            for wanted in (*scope.reads, *(given or ()), *kept)
            if (origin := self._origin(position, wanted, is_needed=self._is_needed(position, wanted))) is not None
        }

    def _is_needed(self, position: int, wanted: str) -> bool:
        """Return whether a part needs a name on every way through it."""
        # A later cell only for names that are needed on every way: else it runs for a value that is hardly used, and
        # often the two cells would need each other.
        scope = self.parts[position].cell.scope
        return self.parts[position].arguments is not None or (wanted in scope.reads and wanted not in scope.unsure)

    def _origin(self, position: int, wanted: str, *, is_needed: bool) -> Origin | None:
        """Return the origin of a name for one part, or None if it has none."""
        for before in range(position - 1, -1, -1):
            part = self.parts[before]
            if wanted in part.available:
                return before
            # In the notebook, the name would be gone too.
            if part.outputs is None and wanted in part.cell.scope.deleted:
                if self.parts[position].in_session and not is_needed:
                    return None
                message = (
                    f"electron {self.parts[position].name!r} needs {wanted!r}, which electron {part.name!r} deletes; "
                    "remove the `del`, or make the value in another cell"
                )
                raise CellRefused(message)
        if wanted in self.parameters:
            return "parameter"
        if self.notebook(wanted) != "none":
            return "notebook"
        if is_needed:
            for after in range(position + 1, len(self.parts)):
                if wanted in self.parts[after].available:
                    return after
        return None

    def _origin_or_refuse(self, position: int, wanted: str, origins: dict[str, Origin]) -> Origin:
        origin = origins.get(wanted)
        if origin is None:
            raise CellRefused(self._missing(position, wanted))
        return origin

    def _missing(self, position: int, wanted: str) -> str:
        part = self.parts[position]
        line = part.cell.scope.reads.get(wanted)
        where = f" (line {line} of its cell)" if line else ""
        made = [name for other in self.parts for name in other.available]
        message = (
            f"electron {part.name!r} needs {wanted!r}{where}, but no electron cell makes it and the notebook has no "
            f"such name; {meant(wanted, {*self.known, *made})}"
        )
        if self.is_single:
            if wanted in self.lost:
                return f"electron {part.name!r} needs {wanted!r}{where}, which did not come here: {self.lost[wanted]}"
            return f"{message}run the cell that makes {wanted!r} first"
        return (
            f"{message}run the cell that makes {wanted!r}, make it a parameter, %lattice {self.name}({wanted}), or "
            f"name what the lattice is to return, so that only the cells for that are used: "
            f"%lattice {self.name} --output NAME"
        )

    def _fill_signature(self, position: int, arguments: ast.arguments, origins: dict[str, Origin]) -> list[Link]:
        """Return the arguments for a signature; a parameter with a default is filled by a cell or the lattice only.

        The notebook's value of that name is no argument: the default was written to be used.
        """
        links: list[Link] = []
        positional = [*arguments.posonlyargs, *arguments.args]
        n_required = len(positional) - len(arguments.defaults)
        gap = False  # once a default is left to be used, positional arguments would go to the wrong parameter
        for index, argument in enumerate(positional):
            origin = origins.get(argument.arg)
            if index >= n_required and (origin is None or origin == "notebook"):
                gap = True
                continue
            origin = self._origin_or_refuse(position, argument.arg, origins)
            if gap and index < len(arguments.posonlyargs):
                continue  # cannot be passed by keyword, so its default is used as well
            links.append(Link(argument.arg, origin, keyword=gap))
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
            origin = origins.get(argument.arg)
            if default is None or not (origin is None or origin == "notebook"):
                links.append(Link(argument.arg, self._origin_or_refuse(position, argument.arg, origins), keyword=True))
        return links

    def is_of_session(self, link: Link) -> bool:
        """Return whether a value comes from a cell of the session."""
        return isinstance(link.origin, int) and self.parts[link.origin].in_session

    def order(self) -> list[int]:
        """Return the parts in an order in which they can run, as near to the notebook's as possible."""
        pending = sorted(self.links)
        done: list[int] = []
        while pending:
            for position in pending:  # from the first on each time, so that order changes only where it must
                if all(one.origin in done for one in self.links[position] if isinstance(one.origin, int)):
                    done.append(position)
                    pending.remove(position)
                    break
            else:
                if all(self.parts[position].in_session for position in pending):
                    return done + pending  # as the notebook has them: there the later name is found, or not
                names = listed([self.parts[position].name for position in pending])
                message = (
                    f"the electrons {names} need each other's values in a circle; give one of the values another name"
                )
                raise CellRefused(message)
        return done

    def unused(self) -> list[Returned]:
        """Return the outputs that no other cell uses, and the values of cells without outputs; not of the session."""
        found: dict[str, Returned] = {}
        for position, part in enumerate(self.parts):
            if part.in_session:
                continue
            outputs = self._outputs(position)
            for output in outputs:
                if output not in self.used_outputs[position]:
                    found.pop(output, None)  # a later cell with the same name replaces it, at the end of the order
                    found[output] = (output, position, output)
            if not outputs and not self.used_outputs[position]:
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
        """Return the last maker of a name; the name of an electron means its whole value."""
        for position in range(len(self.parts) - 1, -1, -1):
            if name in self.parts[position].available:
                return name, position, name
            if name == self.parts[position].name:
                return name, position, None
        made = sorted({name for part in self.parts for name in part.available})
        message = f"no electron cell makes the output {name!r}; they make {listed(made) if made else 'no names at all'}"
        raise CellRefused(message)

    def recipe(self, position: int, wanted: Sequence[Returned] | None) -> Recipe:
        """Return how to compile one part for this lattice. `wanted`: the values that were asked for by name, if any."""
        part = self.parts[position]
        if part.in_session:
            return Recipe(part.name, arguments_of(()), ())
        names = self.names[position]
        used = self.used_outputs[position]
        outputs = self._outputs(position)
        leftovers: frozenset[str] = frozenset()
        if part.outputs is None:  # found outputs are cut to those that are used; promised ones are all returned
            if wanted is not None:
                named = [output for _, maker, output in wanted if maker == position and output is not None]
                outputs = tuple(dict.fromkeys([*used, *named]))
            else:
                outputs = tuple(dict.fromkeys([*outputs, *used]))
                leftovers = frozenset(outputs) - used.keys()
        arguments = part.arguments if part.arguments is not None else arguments_of(names.inputs)
        return Recipe(
            name=part.name,
            arguments=arguments,
            outputs=outputs,
            prelude=self.prelude[position],
            carried=(*names.carried, *names.unknown),
            allow_missing=part.outputs is None,
            maybe_missing={
                one.parameter: one.parameter not in names.optional
                for one in self.links[position]
                if isinstance(one.origin, int) and self._may_be_unset(one.origin, one.parameter)
            },
            leftovers=leftovers,
        )

    def _may_be_unset(self, position: int, name: str) -> bool:
        """Return whether an output may be a `Missing`. Promised outputs (`->`) are an error when they are unset."""
        part = self.parts[position]
        binding = part.cell.scope.bindings.get(name)
        return part.outputs is None and binding is not None and not binding.sure
