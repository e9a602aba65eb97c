"""Lattice of a notebook: one bare cell of one session for each code cell, in the order of the document."""

from __future__ import annotations

import ast
import builtins
import keyword
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from covalab.core.cell_source import filename_for, remember
from covalab.jupyter.cells.cell import Cell, names_of, read_session_cell
from covalab.jupyter.cells.compiling import arguments_of
from covalab.jupyter.cells.dataflow import scan
from covalab.jupyter.cells.history import number_before_history
from covalab.jupyter.cells.ipython_lines import CellRefused
from covalab.jupyter.notebook.electron_cell import UNNAMED, name_from
from covalab.jupyter.notebook.lattice_source import RESULTS, SESSION
from covalab.jupyter.notebook.linking import WiredElectron
from covalab.jupyter.notebook.session_lattice import Build, SessionCall, results_of
from covalab.jupyter.runs.cell_options import CellOptions
from covalab.jupyter.runs.document import CodeCell
from covalab.sdk.building.electron import electron
from covalab.sdk.building.lattice import Lattice, lattice
from covalab.worker.session.cell import SessionCell
from covalab.worker.session.cell_text import CellText

_WORD: Final = re.compile(r"\W+")


class RunCell(msgspec.Struct, frozen=True):
    """Cell that runs: the document's, its options, and what its code was found to do."""

    cell: CodeCell
    options: CellOptions
    part: WiredElectron


def run_cells(cells: Sequence[tuple[CodeCell, CellOptions]]) -> list[RunCell]:
    """Return cells with names for their electrons: those that `%lattice` gives, or the number of the cell."""
    found: list[RunCell] = []
    taken = {SESSION, RESULTS}
    made: set[str] = set()
    imports: set[str] = set()
    for number, (cell, options) in enumerate(cells, 1):
        read = _read(cell.text)
        names = names_of(read, lambda name: "code" if name in imports else "none", made=made - imports)
        # One that sets nothing has only its number: a count of such cells would be read as that.
        wanted = name_from(names)
        name = _free(f"cell_{number}" if wanted == UNNAMED else wanted, taken)
        taken.add(name)
        part = WiredElectron(name, read, in_session=True)
        made.update(part.available)
        imports.update(part.imports)
        found.append(RunCell(cell, options, part))
    return found


def _read(text: str) -> Cell:
    """Return what a cell does; one that is no Python fails when its turn comes, as in a kernel."""
    try:
        return read_session_cell(text, 1)
    except (SyntaxError, CellRefused, ValueError, RecursionError):
        return Cell(text, ast.Module([], []), 0, scan([]), ends_with_value=False, hides_names=True)


def _free(wanted: str, taken: set[str]) -> str:
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    return name


def flows_of(parts: Sequence[WiredElectron]) -> list[dict[str, list[str]]]:
    """Return, for each cell, the cells before it that make what it uses, with the names: the edges that are drawn."""
    makers: dict[str, str] = {}  # of each name, the last cell so far that made it
    found: list[dict[str, list[str]]] = []
    for part in parts:
        scope = part.cell.scope
        unset = [name for name, binding in scope.bindings.items() if not binding.sure]
        used = [*scope.reads, *scope.reads_after_empty, *unset, *scope.changes, *part.cell.text_names]
        flows: dict[str, list[str]] = {}
        for name in dict.fromkeys(used):
            if name in makers:
                flows.setdefault(makers[name], []).append(name)
        found.append(flows)
        for name in scope.deleted:
            makers.pop(name, None)
        makers.update(dict.fromkeys(part.available, part.name))
    return found


def lattice_of(
    cells: Sequence[RunCell], title: str, *, reuse: bool = False, stop_on_error: bool = False, parallel: bool = False
) -> Lattice:
    """Return the lattice of cells; it has no parameters, and its value is that of the last cell.

    Parameters
    ----------
    cells
        The cells that run.
    title
        The name of the lattice.
    reuse
        Whether values and outputs of earlier runs may stand for cells: of those after the last that reads `Out` or `_`.
    stop_on_error
        Whether no cell runs after one that failed; else those run that are shown to be independent of it.
    parallel
        Whether cells that are shown to be independent of those before them run beside these; the same ones.
    """
    name = _identifier(title, {cell.part.name for cell in cells})
    source = _source(name, [cell.part.name for cell in cells])
    build = Build(None)
    all_run = number_before_history([(cell.cell.text, cell.part.cell.tree) for cell in cells])
    flows = flows_of([cell.part for cell in cells])
    electrons: Mapping[str, Callable[..., Any]] = {
        cell.part.name: _call(
            cell,
            flow,
            build,
            cell_text(
                cell,
                number,
                reuse=reuse and number > all_run,
                stop_on_error=stop_on_error,
                parallel=parallel and number > all_run,
                history=number <= all_run,
            ),
        )
        for number, (cell, flow) in enumerate(zip(cells, flows, strict=True), 1)
    }
    filename = filename_for("lattice", name, source)
    module = ast.parse(f"def {name}(): return {name}")
    factory = module.body[0]
    assert isinstance(factory, ast.FunctionDef)
    # The electrons are parameters of a function around it: so the lattice holds them, and nothing else.
    factory.args = arguments_of([RESULTS, *electrons])
    factory.body = [*ast.parse(source, filename).body, *factory.body]
    found: dict[str, Any] = {}
    code = compile(ast.fix_missing_locations(module), filename, "exec", dont_inherit=True)
    exec(code, {"__name__": "__main__", "__builtins__": builtins}, found)  # noqa: S102 - of names found by analysis
    function = found[name](results_of, **electrons)
    function.__name__ = function.__qualname__ = title
    function.__covalab_source__ = source
    remember(filename, source)
    made: Lattice = lattice(function)
    return made


def _identifier(title: str, taken: set[str]) -> str:
    # As Python reads names: of "ﬁt" it makes "fit", and "x²" is none.
    words = _WORD.sub("_", unicodedata.normalize("NFKC", title)).strip("_")
    name = words if words.isidentifier() and not keyword.iskeyword(words) else f"notebook_{words}".rstrip("_")
    return _free(name, taken | {SESSION, RESULTS})


def _source(name: str, cells: Sequence[str]) -> str:
    calls = [f"{SESSION} = {cell}({SESSION if number else ''})" for number, cell in enumerate(cells)]
    end = f"return {RESULTS}({SESSION})" if cells else "return None"
    return "\n    ".join([f"def {name}():", *calls, end]) + "\n"


def _call(one: RunCell, flows: Mapping[str, list[str]], build: Build, cell: CellText) -> SessionCall:
    """Return what a cell is in the lattice."""
    name, options = one.part.name, one.options
    made = electron(SessionCell(name, cell), retries=options.retries, time_limit=options.time_limit)
    return SessionCall(name, made, flows, build)


def cell_text(
    one: RunCell,
    number: int,
    *,
    reuse: bool = False,
    stop_on_error: bool = False,
    parallel: bool = False,
    history: bool = False,
) -> CellText:
    """Return a cell as its session runs it. Tracebacks call it as those of a kernel do."""
    text, scope = one.cell.text, one.part.cell.scope
    needs = (*scope.reads, *scope.reads_after_empty, *scope.changes, *scope.deferred, *one.part.cell.text_names)
    return CellText(
        text,
        1,
        filename_for("cell", f"In[{number}]", text),
        bound=tuple(scope.bindings),
        may_raise=one.options.may_raise,
        reuse=reuse,
        needs=None if one.part.cell.hides_names else (*needs, *scope.deleted),
        sure=tuple(name for name, binding in scope.bindings.items() if binding.sure),
        stop_on_error=stop_on_error,
        parallel=parallel,
        eager=one.options.parallel,
        history=history,
    )
