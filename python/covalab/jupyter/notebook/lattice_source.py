"""Source of a lattice that wires electron cells: ordinary Python, which can be read and displayed. Pure."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from covalab.jupyter.cells.compiling import Recipe
from covalab.jupyter.notebook.linking import Link, Linker, Returned

NOTEBOOK: Final = "notebook"
"""Name of the function in the written lattice that takes a value from the notebook as one parameter."""
NAMES: Final = "notebook_names"
"""Name of the function in the written lattice that takes names from the notebook into the session of its bare cells."""
SESSION: Final = "session"
"""Name of the variable in the written lattice that stands for the names which the bare cells share."""
RESULTS: Final = "results_of"
"""Name of the function in the written lattice that returns the session and what other electrons made beside it."""
FUNCTIONS: Final = (NOTEBOOK, NAMES, SESSION, RESULTS)


def function_source(
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
        # Returned as a whole, it is not unpacked into its outputs.
        outputs = [None] if position in whole else recipes[position].outputs
        targets = [variables.name(position, output) for output in outputs]
        lines.append(f"    {', '.join(targets)}{' = ' if targets else ''}{variables.call(position)}")
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
            targets = [variables.name(position, output) for output in recipes[position].outputs or [None]]
            lines.append(f"    {', '.join(targets)} = {variables.call(position)}")
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
        self._reserved = {*work.from_notebook, *(part.name for part in work.parts), *FUNCTIONS}

    def name(self, position: int, output: str | None) -> str:
        """Return the variable that holds an output of a part (None: its whole value)."""
        part = self._work.parts[position]
        if output is None:
            return f"{part.name}_value"
        # In the notebook's order, a later assignment replaces an earlier one just as the cells do. In any other order
        # that would give a cell the wrong one of two values.
        is_ambiguous = not self._in_order and (self._makers[output] > 1 or output in self._work.parameters)
        return f"{output}_of_{part.name}" if output in self._reserved or is_ambiguous else output

    def call(self, position: int) -> str:
        """Return the call of a part that is a function."""
        return f"{self._work.parts[position].name}({', '.join(map(self.argument, self._work.links[position]))})"

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
