"""Wiring of the electron cells of a notebook into one lattice: the origin of each value that a cell needs.

Pure. A name comes from the nearest earlier cell that makes it; else from the lattice's parameters, else from the
notebook's namespace, else from a later cell (cells are run in any order). Cells that both take and make a name form a
chain. The lattice is written as ordinary Python, so that it can be read and displayed.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final, Literal, TypeAlias

import msgspec

from covalab.jupyter.cells.cell import BUILTINS, HISTORY, SPECIAL, Cell, KindOf, Names, names_of
from covalab.jupyter.cells.compiling import Recipe, arguments_of, data_message, listed
from covalab.jupyter.cells.header import parameter_names
from covalab.jupyter.cells.ipython_lines import CellRefused
from covalab.jupyter.cells.known_names import meant

NOTEBOOK: Final = "notebook"
"""Name of the function in the written lattice that takes a value from the notebook as one parameter."""
NAMES: Final = "notebook_names"
"""Name of the function in the written lattice that takes names from the notebook into the session of its bare cells."""
SESSION: Final = "session"
"""Name of the variable in the written lattice that stands for the names which the bare cells share."""
RESULTS: Final = "results_of"
"""Name of the function in the written lattice that returns the session and what other electrons made beside it."""


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

_FUNCTIONS: Final = (NOTEBOOK, NAMES, SESSION, RESULTS)

Origin: TypeAlias = "int | Literal['notebook', 'parameter']"
"""Origin of a value: a part by its position, the notebook's namespace, or a parameter of the lattice."""


Returned: TypeAlias = "tuple[str, int, str | None]"
"""One value that the lattice returns: its name, the position of its part, and which output (None: its whole value)."""


class Link(msgspec.Struct, frozen=True):
    """One argument of one call."""

    parameter: str
    origin: Origin
    keyword: bool


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
    if name in _FUNCTIONS:
        message = f"{name!r} is a word that covalab itself uses in lattices; give this one another name"
        raise CellRefused(message)
    work = Linker(name, parts, notebook, parameter_names(arguments) if arguments is not None else (), reach)
    work.known, work.is_single = known, whole
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
        source = _source(work, order, recipes, returned, arguments, as_dict=wanted is None and not whole)
    return Wiring(name, source, electrons, tuple(work.from_notebook), work.flows())


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
        taken: list[str] = []
        pending = list(dict.fromkeys(touched))
        seen: set[str] = set()
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


def _source(
    work: Linker,
    order: Sequence[int],
    recipes: Mapping[int, Recipe],
    returned: Sequence[Returned],
    arguments: ast.arguments | None,
    *,
    as_dict: bool,
) -> str:
    """Return the lattice as Python."""
    variables = Variables(work, order, recipes)
    signature = "" if arguments is None else ast.unparse(arguments)
    lines = [f"def {work.name}({signature}):"]
    whole = {maker for _, maker, output in returned if output is None}
    for position in order:
        call = f"{work.parts[position].name}({', '.join(map(variables.argument, work.links[position]))})"
        if position in whole:
            # Returned as a whole, so it is not unpacked into its outputs.
            call = f"{variables.name(position, None)} = {call}"
        elif recipes[position].outputs:
            targets = (variables.name(position, output) for output in recipes[position].outputs)
            call = f"{', '.join(targets)} = {call}"
        lines.append(f"    {call}")
    values = [(name, variables.name(maker, output)) for name, maker, output in returned]
    if as_dict:
        lines.append(f"    return {{{', '.join(f'{name!r}: {value}' for name, value in values)}}}")
    else:
        lines.append(f"    return {', '.join(value for _, value in values)}")
    return "\n".join(lines) + "\n"


def session_source(
    work: Linker,
    order: Sequence[int],
    recipes: Mapping[int, Recipe],
    returned: Sequence[Returned],
    arguments: ast.arguments | None,
    *,
    wanted: Sequence[str] | None,
    whole: bool,
) -> str:
    """Return a lattice with a session as Python: each bare cell takes the session and returns it."""
    variables = Variables(work, order, recipes)
    lines = [f"def {work.name}({'' if arguments is None else ast.unparse(arguments)}):"]
    has_session = False
    value = ""
    for position in order:
        part = work.parts[position]
        if not part.in_session:
            call = f"{part.name}({', '.join(map(variables.argument, work.links[position]))})"
            outputs = recipes[position].outputs
            targets = [variables.name(position, output) for output in outputs] or [variables.name(position, None)]
            lines.append(f"    {', '.join(targets)} = {call}")
            value = ", ".join(targets) if len(targets) == 1 else f"({', '.join(targets)})"
            continue
        given = [SESSION if has_session else "None"]
        if work.taken[position]:
            given.append(f"{NAMES}({', '.join(map(repr, work.taken[position]))})")
        given += [
            f"{one.parameter}={variables.value(one)}" for one in work.links[position] if not work.is_of_session(one)
        ]
        arguments_ = "" if given == ["None"] else ", ".join(given)
        lines.append(f"    {SESSION} = {part.name}({arguments_})")
        has_session, value = True, ""
    if whole:
        lines.append(f"    return {SESSION}")
    elif wanted is not None:
        lines.append(f"    return {', '.join(variables.returned(one) for one in returned)}")
    else:
        beside = [f"{name}={variables.name(position, output)}" for name, position, output in work.unused()]
        lines.append(f"    return {RESULTS}({', '.join([SESSION, *([value] if value else []), *beside])})")
    return "\n".join(lines) + "\n"


class Variables:
    """Names of the variables in the written lattice: those of the notebook wherever they are unambiguous."""

    def __init__(self, work: Linker, order: Sequence[int], recipes: Mapping[int, Recipe]) -> None:
        self._work = work
        self._in_order = list(order) == sorted(order)
        self._makers = Counter(output for recipe in recipes.values() for output in set(recipe.outputs))
        self._reserved = {*work.from_notebook, *(part.name for part in work.parts), *_FUNCTIONS}

    def name(self, position: int, output: str | None) -> str:
        """Return the variable that holds an output of a part (None: its whole value)."""
        part = self._work.parts[position]
        if output is None:
            return f"{part.name}_value"
        # In the notebook's order, a later assignment replaces an earlier one just as the cells do. In any other order
        # that would give a cell the wrong one of two values.
        is_ambiguous = not self._in_order and (self._makers[output] > 1 or output in self._work.parameters)
        return f"{output}_of_{part.name}" if output in self._reserved or is_ambiguous else output

    def argument(self, link: Link) -> str:
        """Return one argument of a call."""
        text = self.value(link)
        return f"{link.parameter}={text}" if link.keyword else text

    def value(self, link: Link) -> str:
        """Return the value of an argument."""
        if self._work.is_of_session(link):
            return f"{SESSION}[{link.parameter!r}]"
        if isinstance(link.origin, int):
            return self.name(link.origin, link.parameter)
        return f"{NOTEBOOK}({link.parameter})" if link.origin == "notebook" else link.parameter

    def returned(self, one: Returned) -> str:
        """Return one value that the lattice returns."""
        _, position, output = one
        if self._work.parts[position].in_session:
            return SESSION if output is None else f"{SESSION}[{output!r}]"
        return self.name(position, output)
