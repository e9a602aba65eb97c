"""Inputs and outputs of a notebook cell, so that it can run as a function on a worker.

Pure: text and a description of the notebook's names in, frozen structs out; no cell is run here and no IPython is
needed. Code that cannot mean the same inside a function is refused with its line and a remedy (`CellRefused`).
"""

from __future__ import annotations
import __future__

import ast
import builtins
import copy
import functools
import inspect
import operator
import re
import sys
import types
from collections.abc import Callable, Container, Iterable
from typing import Any, Final, Literal, TypeAlias

import msgspec

from covalab.core.cell_source import READERS_OF_TEXT, filename_for, words_in
from covalab.jupyter.cells.dataflow import Conflict, scan
from covalab.jupyter.cells.ipython_lines import CellRefused, parse_for_session, parse_with_ipython_lines
from covalab.jupyter.cells.mutation import PossibleChange
from covalab.jupyter.cells.name_state import Scope
from covalab.jupyter.cells.scopes import SCOPES, declared, names_bound, walk_scope

__all__ = ["Cell", "CellRefused", "Kind", "Names", "kind_of", "names_of", "read_cell"]

Kind = Literal["data", "code", "none"]
"""Kind of a name in the notebook: a value, code that is sent along (a module, a function, a class), or nothing."""

_FUTURE: Final = functools.reduce(
    operator.or_, (getattr(__future__, name).compiler_flag for name in __future__.all_feature_names)
)

KindOf: TypeAlias = Callable[[str], Kind]

BUILTINS: Final = frozenset(
    {*dir(builtins), "__name__", "__doc__", "__file__", "__builtins__", "get_ipython", "exit", "quit"}
)  # IPython has taken the last two away, and has its own
HISTORY: Final = re.compile(r"_{1,3}|_i{0,3}\d*|_(ih|oh|dh|sh)|In|Out")
SPECIAL: Final = {"display": "from IPython.display import display"}
"""Names that IPython adds to every notebook, and the statements that import them on a worker."""


class Cell(msgspec.Struct, frozen=True):
    """A cell that can become a function.

    `text` is the whole cell as the notebook shows it; `tree` its code with the line numbers of `text`, rewritten where
    a function needs another spelling. `ends_with_value`: the last statement is an expression. `nonlocals` are names
    that nested functions set (`global` in the notebook).
    """

    text: str
    tree: ast.Module
    flags: int
    scope: Scope
    ends_with_value: bool
    nonlocals: frozenset[str] = frozenset()
    text_names: tuple[str, ...] = ()  # words in texts that are code to somebody: formulas, `eval`, magics
    hides_names: bool = False  # it may set names that it does not mention

    @property
    def is_async(self) -> bool:
        """True if the cell awaits at its top level, so that its function must be `async`."""
        return self.scope.is_async

    def sets(self, name: str) -> bool:
        """Return whether the code sets or deletes the name, on some way through it at least."""
        return name in self.scope.bindings or name in self.scope.deleted


class Names(msgspec.Struct, frozen=True):
    """Names of a cell by their role, given a notebook.

    `inputs` are values it needs (`optional` those it can do without on some ways through its code), `outputs` the data
    it leaves behind, in the order in which it touches them. `changed` inputs are changed in place, `possible` are calls
    that may do so without an assignment. `carried` is code of the notebook that is sent along, `unknown` are names that
    exist nowhere yet, `prelude` are statements that import what only notebooks have.
    """

    inputs: tuple[str, ...]
    optional: frozenset[str]
    outputs: tuple[str, ...]
    changed: tuple[str, ...]
    possible: tuple[PossibleChange, ...]
    carried: tuple[str, ...]
    unknown: tuple[str, ...]
    prelude: tuple[str, ...]


def kind_of(value: object) -> Kind:
    """Return whether a value of the notebook is code, which is sent along with the code that uses it, or data.

    Examples
    --------
    >>> [kind_of(value) for value in (re, len, dict, 3.0, [], [].append)]
    ['code', 'code', 'code', 'data', 'data', 'data']
    """
    if isinstance(value, (types.ModuleType, type)):
        return "code"
    if inspect.ismethod(value):
        return "code" if isinstance(value.__self__, (type, types.ModuleType)) else "data"
    if isinstance(value, types.BuiltinFunctionType):
        owner = value.__self__
        return "code" if owner is None or isinstance(owner, (type, types.ModuleType)) else "data"
    # Ufuncs, compiled and decorated functions have a name of their own; an estimator or a network does not.
    if callable(value) and (isinstance(value, functools.partial) or hasattr(value, "__name__")):
        return "code"
    return "data"


def read_cell(text: str, first_line: int = 2, flags: int = 0) -> Cell:
    """Read the code of a cell.

    Parameters
    ----------
    text
        The whole cell, its magic line included.
    first_line
        The line on which the code begins, counted from 1.
    flags
        The notebook's compiler flags, of which those of `__future__` count.

    Raises
    ------
    CellRefused
        If it cannot run as a function.
    SyntaxError
        If it is not Python.
    """
    flags &= _FUTURE
    tree = _parsed(text, first_line, flags)
    flags |= _future_flags(tree)
    scope = _scope_of(tree, flags)
    _refuse_notebook_names(scope)
    # After the analysis: it must see the statements that are rewritten here.
    nonlocals = _Nonlocal(tree).names
    _TopLevel().visit(tree)
    ast.fix_missing_locations(tree)
    return Cell(text, tree, flags, scope, isinstance(tree.body[-1], ast.Expr), nonlocals)


def read_session_cell(text: str, first_line: int = 2, flags: int = 0) -> Cell:
    """Read the code of a cell that runs in a session, where everything is as in a notebook.

    The parameters are those of `read_cell`; `tree` is for analysis only, IPython runs the text.

    Raises
    ------
    SyntaxError
        If it is neither Python nor IPython.
    """
    flags &= _FUTURE
    filename = filename_for("electron", "cell", text)
    lines = text.split("\n")
    source = "\n" * (first_line - 1) + "\n".join(lines[first_line - 1 :]) + "\n"
    tree, is_hidden = parse_for_session(source, filename, flags | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    flags |= _future_flags(tree)
    scope = _scope_of(tree, flags)
    ends_with_value = bool(tree.body) and isinstance(tree.body[-1], ast.Expr)
    hides = is_hidden or any(
        isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names) for node in ast.walk(tree)
    )
    hides = hides or not {"exec", "eval", "globals", "locals", "vars", "get_ipython"}.isdisjoint(scope.reads)
    return Cell(text, tree, flags, scope, ends_with_value, frozenset(), names_in_texts(tree), hides)


def names_in_texts(tree: ast.Module) -> tuple[str, ...]:
    """Return the words of texts that are likely read as code: formulas (`y ~ x`), what `eval` and magics get."""
    found: dict[str, None] = {}
    for node in ast.walk(tree):
        texts: list[ast.expr] = []
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "~" in node.value:
            texts = [node]
        elif isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in READERS_OF_TEXT:
                texts = [*node.args, *(keyword.value for keyword in node.keywords)]
        for one in texts:
            if isinstance(one, ast.Constant) and isinstance(one.value, str):
                found.update(dict.fromkeys(words_in(one.value)))
    return tuple(found)


def _scope_of(tree: ast.Module, flags: int) -> Scope:
    try:
        # Annotations that Python does not evaluate are no reads.
        lazy = flags & __future__.annotations.compiler_flag or sys.version_info >= (3, 14)
        return scan(_without_annotations(tree).body if lazy else tree.body)
    except Conflict as conflict:
        raise CellRefused(conflict.message, conflict.line) from None


def _parsed(text: str, first_line: int, flags: int) -> ast.Module:
    """Parse the code of a cell with the line numbers of the whole cell, and refuse what a function cannot contain."""
    filename = filename_for("electron", "cell", text)
    lines = text.split("\n")
    # Empty lines in place of the magic, so that tracebacks count as the notebook does.
    source = "\n" * (first_line - 1) + "\n".join(lines[first_line - 1 :]) + "\n"
    flags |= ast.PyCF_ALLOW_TOP_LEVEL_AWAIT  # a notebook allows `await`; the function becomes `async`
    try:
        tree = compile(source, filename, "exec", flags | ast.PyCF_ONLY_AST, dont_inherit=True)
    except SyntaxError as error:
        try:
            tree = parse_with_ipython_lines(source, filename, flags)
        except SyntaxError:
            raise error from None  # of the code as it is written, not of its translation
    assert isinstance(tree, ast.Module)
    if not tree.body:
        message = "the cell has no code below its first line"
        raise CellRefused(message)
    _refuse(tree)
    compile(tree, filename, "exec", flags, dont_inherit=True)  # finds errors that the parser does not
    return tree


def _refuse_notebook_names(scope: Scope) -> None:
    for name, line in scope.reads.items():
        if name == "get_ipython":
            message = "get_ipython() works in the notebook only, an electron runs where there is no IPython"
            raise CellRefused(message, line)
        if HISTORY.fullmatch(name):
            message = f"{name} is the notebook's own history; give the value a name in the cell that makes it"
            raise CellRefused(message, line)


def names_of(cell: Cell, notebook: KindOf, *, made: Container[str] = (), given: Iterable[str] | None = None) -> Names:
    """Decide the role of each name of a cell.

    Parameters
    ----------
    cell
        The cell.
    notebook
        Returns the kind of a name in the notebook's namespace.
    made
        Names that other electron cells make: future values, whatever the namespace has under that name.
    given
        The parameters, when a signature names them; anything else is then no input.
    """
    scope = cell.scope
    fixed = None if given is None else frozenset(given)
    inputs: list[str] = []
    carried: list[str] = []
    unknown: list[str] = []
    prelude: list[str] = []
    for name in scope.reads:
        kind = "data" if name in made else notebook(name)
        if (fixed is not None and name in fixed) or kind == "data":
            inputs.append(name)
        elif kind == "code":
            # A name that the function sets is local to it, so the notebook's can only come in as a parameter.
            (inputs if cell.sets(name) else carried).append(name)
        elif name in SPECIAL:
            prelude.append(SPECIAL[name])
        elif name in BUILTINS:
            if cell.sets(name):  # local to the function, so the builtin must be assigned to it first
                prelude.append(f"from builtins import {name}")
        elif name not in scope.unsure:  # on the ways that read it, the block itself may have set it
            unknown.append(name)
    known = {*inputs, *unknown}  # an unknown name becomes an input when another cell makes it
    changed = tuple(name for name in scope.changes if name in known)
    outputs = _outputs(cell, changed)
    kept = [] if fixed is not None else _kept(cell, outputs, notebook, made)
    return Names(
        inputs=(*inputs, *kept),
        optional=frozenset([*kept, *(name for name in inputs if name in scope.unsure)]),
        outputs=outputs,
        changed=changed,
        possible=tuple(one for one in scope.possible if one.name in known and one.name not in outputs),
        carried=tuple(carried),
        unknown=tuple(unknown),
        prelude=tuple(prelude),
    )


def _kept(cell: Cell, outputs: Iterable[str], notebook: KindOf, made: Container[str]) -> list[str]:
    """Return the names whose earlier value the cell keeps on some way through its code, without always reading it.

    A name that only an empty loop would leave unset is taken from another cell, not from the notebook: the notebook's
    value is most often left over from an earlier run of the same loop.
    """
    bindings = cell.scope.bindings
    branches = [name for name in outputs if name in bindings and not bindings[name].likely]
    empty = [*cell.scope.reads_after_empty, *(name for name in outputs if name in bindings and not bindings[name].sure)]
    found = [name for name in branches if name in made or notebook(name) == "data"]
    found += [name for name in empty if name in made]
    return [name for name in dict.fromkeys(found) if name not in cell.scope.reads]


def _outputs(cell: Cell, changed: tuple[str, ...]) -> tuple[str, ...]:
    """Return the data that the cell leaves behind: no loop variables, imports, functions or `_names`."""
    touched = {name: cell.scope.changes[name] for name in changed}
    for name, binding in cell.scope.bindings.items():
        if binding.kind == "data" and not name.startswith("_"):
            touched.setdefault(name, binding.line)
    return tuple(sorted(touched, key=touched.__getitem__))


def _refuse(tree: ast.Module) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
            message = (
                f"`from {'.' * node.level}{node.module or ''} import *` hides which names the cell uses; "
                "import the names that it needs"
            )
            raise CellRefused(message, node.lineno)
    for node in walk_scope(tree.body):
        if isinstance(node, (ast.Yield, ast.YieldFrom)):
            message = "`yield` outside a function: the value of an electron is its last line, or the names after `->`"
            raise CellRefused(message, node.lineno)
        if isinstance(node, ast.Return):
            message = "`return` outside a function: end the cell with the value itself, or name the outputs: `-> names`"
            raise CellRefused(message, node.lineno)


def _future_flags(tree: ast.Module) -> int:
    """Take the `__future__` imports out of the code (a function may not have them) and return them as flags."""
    flags = 0
    kept: list[ast.stmt] = []
    for statement in tree.body:
        if isinstance(statement, ast.ImportFrom) and statement.module == "__future__" and not statement.level:
            flags |= sum(getattr(__future__, alias.name).compiler_flag for alias in statement.names)
            kept.append(ast.copy_location(ast.Pass(), statement))
        else:
            kept.append(statement)
    tree.body[:] = kept
    return flags


def _without_annotations(tree: ast.Module) -> ast.Module:
    """Return a copy without the annotations that nothing evaluates."""
    bare = copy.deepcopy(tree)
    for node in ast.walk(bare):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.copy_location(ast.Constant(None), node.annotation)
    return bare


class _TopLevel(ast.NodeTransformer):
    """Rewriter of a cell's top level to the body of a function: no `global`, no annotations of plain names.

    An annotation alone would make the name local to the function, and hide the input of that name.
    """

    def visit(self, node: ast.AST) -> Any:
        return node if isinstance(node, SCOPES) else super().visit(node)

    def visit_Global(self, node: ast.Global) -> ast.AST:
        return ast.copy_location(ast.Pass(), node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if not isinstance(node.target, ast.Name):
            return node
        if node.value is None:
            return ast.copy_location(ast.Pass(), node)
        return ast.copy_location(ast.Assign([node.target], node.value), node)


class _Nonlocal(ast.NodeVisitor):
    """Rewriter of `global x` in nested functions to `nonlocal x`: the notebook's `x` is the cell function's `x`."""

    def __init__(self, tree: ast.Module) -> None:
        self._enclosing: list[set[str]] = []  # the names of each function around the present one
        self._found: set[str] = set()
        self.visit(tree)
        self.names = frozenset(self._found)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        bound = names_bound(node.body)
        # A `global` name that is only read needs no declaration: the closure finds it.
        shared = declared(node.body, ast.Global) & bound
        for name in shared:
            # `nonlocal` would find the variable of the function in between instead of the cell's.
            if any(name in names for names in self._enclosing):
                message = f"`global {name}` inside a function that has a {name!r} of its own around it; rename one"
                raise CellRefused(message, node.lineno)
        self._found |= shared
        _GlobalToNonlocal(bound).run(node.body)
        self._enclosing.append(
            {*bound, *(argument.arg for argument in ast.walk(node.args) if isinstance(argument, ast.arg))}
        )
        self.generic_visit(node)
        self._enclosing.pop()

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for name in declared(node.body, ast.Global):
            message = f"`global {name}` in the body of class {node.name!r} cannot be kept inside a function; remove it"
            raise CellRefused(message, node.lineno)
        self.generic_visit(node)


class _GlobalToNonlocal(ast.NodeTransformer):
    """Rewriter of the `global` statements of one function, not of those inside it."""

    def __init__(self, bound: set[str]) -> None:
        self._bound = bound

    def run(self, body: list[ast.stmt]) -> None:
        body[:] = [self.visit(statement) for statement in body]

    def visit(self, node: ast.AST) -> Any:
        return node if isinstance(node, SCOPES) else super().visit(node)

    def visit_Global(self, node: ast.Global) -> ast.AST:
        names = [name for name in node.names if name in self._bound]
        return ast.copy_location(ast.Nonlocal(names) if names else ast.Pass(), node)
