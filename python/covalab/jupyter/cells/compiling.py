"""Compilation of a cell to a function with its lines, name, parameters and outputs.

The function's globals are the notebook's namespace, so code of the notebook is sent along as it is at the moment of a
dispatch. Data is not: a name that is neither a parameter nor set by the cell is checked whenever the function is
pickled.
"""

from __future__ import annotations

import ast
import linecache
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from covalab.core.cell_source import filename_for, register
from covalab.core.missing_values import Missing, storable_or_missing
from covalab.jupyter.cells.cell import Cell, CellRefused, kind_of

# Variables in the code that is added to a cell. They are named as in earlier versions: `reuse` compares code with code
# that those have stored.
_MISSING: Final = "__covalab_Unset__"
_STORABLE: Final = "__covalab_keepable__"
# Written from the objects themselves, so that renaming one of them cannot break the cells.
_IMPORT_MISSING: Final = f"from {Missing.__module__} import {Missing.__name__} as {_MISSING}"
_IMPORT_STORABLE: Final = f"from {storable_or_missing.__module__} import {storable_or_missing.__name__} as {_STORABLE}"


class Recipe(msgspec.Struct, frozen=True):
    """Instructions for compiling a cell to a function.

    `outputs` are the names it returns (empty: the value of its last line). With `allow_missing`, an output that was not
    set is returned as a `Missing`; otherwise that is an error. `maybe_missing` are parameters that may be a `Missing`,
    and whether the cell needs them; `leftovers` are outputs that were not asked for, so that one of a kind that cannot
    be stored is no failure. `carried` are the names of the notebook that the function uses as they are then.
    """

    name: str
    arguments: ast.arguments
    outputs: tuple[str, ...]
    prelude: tuple[str, ...] = ()
    carried: tuple[str, ...] = ()
    allow_missing: bool = False
    maybe_missing: dict[str, bool] = {}
    leftovers: frozenset[str] = frozenset()


def function_of(cell: Cell, recipe: Recipe, namespace: dict[str, Any], kind: str = "electron") -> Callable[..., Any]:
    """Compile a cell.

    Parameters
    ----------
    cell
        The code.
    recipe
        Name, parameters, outputs.
    namespace
        The notebook's namespace; becomes the function's globals, and defaults are evaluated in it.
    kind
        The word in tracebacks: ``electron`` or ``lattice``.

    Returns
    -------
    function
        A plain function (`async` if the cell awaits), known to `linecache`, with ``__covalab_source__`` and
        ``__covalab_outputs__``.
    """
    filename = filename_for(kind, recipe.name, cell.text)
    maker: type[ast.FunctionDef | ast.AsyncFunctionDef]
    maker = ast.AsyncFunctionDef if cell.is_async else ast.FunctionDef
    # Parsed, because newer versions of Python have more fields, with defaults.
    template = ast.parse(f"def {recipe.name}(): pass").body[0]
    fields = {name: value for name, value in ast.iter_fields(template) if name not in ("args", "body")}
    definition = maker(args=recipe.arguments, body=_body(cell, recipe), **fields)
    module = ast.Module([definition], [])
    # The signature is on the first line of the cell, so errors in it count as errors of that line.
    for node in ast.walk(recipe.arguments):
        if hasattr(node, "lineno"):
            node.lineno = node.end_lineno = 1  # type: ignore[attr-defined]
    definition.lineno, definition.col_offset = 1, 0
    ast.fix_missing_locations(module)
    code = compile(module, filename, "exec", cell.flags, dont_inherit=True)
    found: dict[str, Any] = {}
    exec(code, namespace, found)  # noqa: S102 - the user's own cell, in the user's own kernel
    function: Callable[..., Any] = found[recipe.name]
    function.__covalab_source__ = cell.text  # type: ignore[attr-defined]
    function.__covalab_outputs__ = recipe.outputs  # type: ignore[attr-defined]
    linecache.cache.pop(filename, None)
    register(function)
    if recipe.carried:
        function.__covalab_names__ = _CarriedNames(recipe.name, recipe.carried, namespace)  # type: ignore[attr-defined]
    return function


def arguments_of(names: Sequence[str]) -> ast.arguments:
    """Return plain parameters with these names."""
    return ast.arguments([], [ast.arg(name) for name in names], None, [], [], None, [])


class _CarriedNames:
    """Names that a function takes from the notebook; they are checked when it is pickled.

    They may be functions of a cell further down, so their absence is no error before the code is really sent.
    """

    def __init__(self, function: str, names: tuple[str, ...], namespace: Mapping[str, Any]) -> None:
        self._function, self._names, self._namespace = function, names, namespace

    def __reduce__(self) -> tuple[Any, ...]:
        missing = [name for name in self._names if name not in self._namespace]
        if missing:
            message = (
                f"electron {self._function!r} uses {listed(missing)}, which neither the cell nor the notebook defines; "
                "run the cell that does, or correct the name"
            )
            raise CellRefused(message)
        data = [name for name in self._names if kind_of(self._namespace[name]) == "data"]
        if data:
            raise CellRefused(data_message(self._function, data))
        return tuple, (self._names,)


def data_message(electron: str, names: Sequence[str]) -> str:
    """Return the message for an electron with a signature that uses values that are not in it."""
    it = "it" if len(names) == 1 else "them"
    return (
        f"electron {electron!r} uses {listed(names)} of the notebook without naming {it} in its signature; "
        f"add {it}: %%electron {electron}(..., {', '.join(names)}). Modules, functions and classes travel by "
        f"themselves, values are inputs; {names[0]}={names[0]} there makes this moment's value the default."
    )


def listed(names: Sequence[str]) -> str:
    """Return names as a sentence has them: `'a', 'b' and 'c'`."""
    quoted = [repr(name) for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def _body(cell: Cell, recipe: Recipe) -> list[ast.stmt]:
    body = list(cell.tree.body)
    if not recipe.outputs and isinstance(body[-1], ast.Expr):
        body[-1] = ast.copy_location(ast.Return(body[-1].value), body[-1])
    return [*_before(cell, recipe), *body, *_after(cell, recipe)]


def _before(cell: Cell, recipe: Recipe) -> list[ast.stmt]:
    lines = list(recipe.prelude)
    leftovers = [name for name in recipe.outputs if name in recipe.leftovers]
    unsure = recipe.allow_missing and any(not _is_sure(cell, recipe, name) for name in recipe.outputs)
    if recipe.maybe_missing or unsure:
        lines.append(_IMPORT_MISSING)
    if leftovers:
        lines.append(_IMPORT_STORABLE)
    for name, needed in recipe.maybe_missing.items():
        then = f"raise {name}.needed_by({recipe.name!r})" if needed else f"del {name}"
        lines.append(f"if type({name}) is {_MISSING}: {then}")
    # `nonlocal` in nested functions (`global` in the notebook) needs a variable of this function; it is never run.
    lines += [f"if False: {name} = None" for name in sorted(cell.nonlocals)]
    return _parsed(lines)


def _after(cell: Cell, recipe: Recipe) -> list[ast.stmt]:
    if not recipe.outputs:
        return []
    lines: list[str] = []
    for name in recipe.outputs:
        # Only outputs that some way through the cell leaves unset need the check.
        if not _is_sure(cell, recipe, name):
            lines += ["try:", f"    {name}", "except NameError:"]
            if recipe.allow_missing:
                lines.append(f"    {name} = {_MISSING}({name!r}, {recipe.name!r})")
            else:
                message = (
                    f"electron {recipe.name!r} ended without setting {name!r}, which it promises after `->`; "
                    "give it a value on every way through the cell"
                )
                lines.append(f"    raise NameError({message!r}, name={name!r}) from None")
        if name in recipe.leftovers:
            lines.append(f"{name} = {_STORABLE}({name}, {name!r}, {recipe.name!r})")
    lines.append(f"return {', '.join(recipe.outputs)}")
    return _parsed(["def _():", *(f"    {line}" for line in lines)], inside=True)


def _is_sure(cell: Cell, recipe: Recipe, name: str) -> bool:
    binding = cell.scope.bindings.get(name)
    if binding is not None:
        return binding.sure
    every = [*recipe.arguments.posonlyargs, *recipe.arguments.args, *recipe.arguments.kwonlyargs]
    return name not in cell.scope.deleted and any(argument.arg == name for argument in every)


def _parsed(lines: Sequence[str], *, inside: bool = False) -> list[ast.stmt]:
    """Parse generated code; it counts as the cell's first line, where names and outputs are written."""
    tree = ast.parse("\n".join(lines))
    for node in ast.walk(tree):
        if hasattr(node, "lineno"):
            node.lineno = node.end_lineno = 1  # type: ignore[attr-defined]
            node.col_offset = node.end_col_offset = 0  # type: ignore[attr-defined]
    first = tree.body[0] if tree.body else None
    return first.body if inside and isinstance(first, ast.FunctionDef) else tree.body
