"""The ways in which a notebook is run: plainly, and three ways in the background."""

from __future__ import annotations

import ast
import hashlib
import json
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
from IPython.core.inputtransformer2 import TransformerManager
from tests.law.kernels import Notebook, Output, open_notebook
from tests.law.normal import text_of

from covalab.client import Client

Way = Literal["whole", "run", "mixed"]
WAYS: tuple[Way, ...] = ("whole", "run", "mixed")
_COLLECT = Path(__file__).parent / "collect.py"
_STUCK = 90.0


class Run(msgspec.Struct):
    """What a run of a notebook has left: outputs of each cell, and descriptions of names and of hidden state."""

    outputs: list[list[Output]]
    names: dict[str, Any] = {}
    hidden: dict[str, Any] = {}
    unavailable: dict[str, str] = {}  # names that a result has and cannot give, and what it says
    unstorable: list[str] = []
    refused: str = ""  # the error that a user sees where the plain notebook has none
    refused_at: int = -1
    names_before_error: dict[str, Any] | None = None  # as they were before the cell that failed
    files: dict[str, str] = {}  # digests of what is in the notebook's folder afterwards, by path

    @property
    def failed_at(self) -> int | None:
        """The number of the first cell with an error."""
        return next((n for n, outputs in enumerate(self.outputs) if error_of(outputs) is not None), None)


def error_of(outputs: Sequence[Output]) -> Output | None:
    """Return the error among outputs."""
    return next((one for one in outputs if one["output_type"] == "error"), None)


def run_plainly(cells: Sequence[str], folder: Path) -> Run:
    """Run a notebook as it is, until the first error."""
    run = _plainly(cells, folder / "plain")
    if run.failed_at is not None:
        run.names_before_error = _plainly(cells[: run.failed_at], folder / "before").names
    return run


def _plainly(cells: Sequence[str], folder: Path) -> Run:
    with open_notebook(folder / "notebook") as notebook:
        run = plainly_in(notebook, cells, folder)
    run.files = files_in(folder / "notebook")
    return run


def files_in(folder: Path) -> dict[str, str]:
    """Return the digests of all files in a folder, by path; without those that Python keeps for itself."""
    return {
        str(path.relative_to(folder)): hashlib.blake2b(_content(path), digest_size=8).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def _content(path: Path) -> bytes:
    """Return what is in a file, without what an accident put there."""
    data = path.read_bytes()
    try:
        return text_of(data.decode()).encode()
    except UnicodeDecodeError:
        return data


def plainly_in(notebook: Notebook, cells: Sequence[str], folder: Path) -> Run:
    """Run cells in an open notebook, which is emptied before."""
    notebook.hidden(_call("start(get_ipython())"))
    numbers: list[int] = []
    for cell in cells:
        numbers.append(notebook.run(cell))
        if notebook.error(numbers[-1]) is not None:
            break
    found = _collected(notebook, folder)
    outputs = [notebook.outputs(number) for number in numbers]
    return Run(
        [*outputs, *([] for _ in cells[len(outputs) :])], found["names"], found["hidden"], {}, found["unstorable"]
    )


def run_in_background(way: Way, cells: Sequence[str], folder: Path, client: Client, *, with_ids: bool = True) -> Run:
    """Run a notebook in the background, in one of the three ways."""
    with open_notebook(folder / way / "notebook", with_ids=with_ids) as notebook:
        run = in_background_in(notebook, way, cells, folder / way, client)
    run.files = files_in(folder / way / "notebook")
    return run


def in_background_in(notebook: Notebook, way: Way, cells: Sequence[str], folder: Path, client: Client) -> Run:
    """Run cells in the background of an open notebook, which is emptied before."""
    notebook.hidden(_call("start(get_ipython(), with_covalab=True)"))
    if way == "run":
        return _one_by_one(notebook, cells, folder, client)
    return _as_lattice(notebook, cells, folder, plain=plain_cells(cells) if way == "mixed" else frozenset())


# %%electron --run


def _one_by_one(notebook: Notebook, cells: Sequence[str], folder: Path, client: Client) -> Run:
    before = {one.id for one in client.dispatches(count=500)}
    numbers: list[int] = []
    for cell in cells:
        numbers.append(notebook.run(f"%%electron --run\n{cell}"))
        if notebook.error(numbers[-1]) is not None:
            break
    mine = sorted((one for one in client.dispatches(count=500) if one.id not in before), key=lambda one: one.created_at)
    by_cell = {one.cell: one.id for one in mine if one.cell}
    for one in mine:
        _wait(client, one.id)
        notebook.hidden(_wait_line(one.id))
    found = _collected(notebook, folder, ids=[one.id for one in mine])
    run = Run([[] for _ in cells], found["names"], found["hidden"])
    unnamed = iter([one.id for one in mine if not one.cell])
    for n, number in enumerate(numbers):
        dispatch = by_cell.get(notebook.id(number)) or next(unnamed, None)
        node = found["dispatches"][dispatch]["nodes"][0] if dispatch else None
        if node is None:
            run.refused, run.refused_at = notebook.text(number).strip(), n
        else:
            run.outputs[n] = node["outputs"] + _as_error(node)
    return run


# %lattice


def _as_lattice(notebook: Notebook, cells: Sequence[str], folder: Path, *, plain: frozenset[int]) -> Run:
    run = Run([[] for _ in cells])
    electrons: dict[int, str] = {}  # number of the cell: name of its electron
    for n, cell in enumerate(cells):
        number = notebook.run(cell if n in plain else f"%%electron\n{cell}")
        if notebook.error(number) is not None:
            run.refused, run.refused_at = notebook.text(number).strip(), n
            return run
        if n in plain:
            run.outputs[n] = notebook.outputs(number)
        else:
            electrons[n] = _electron_in(notebook.outputs(number))
    if electrons:
        wired = notebook.run("%lattice all_cells")
        if notebook.error(wired) is None:
            wired = notebook.run("%dispatch all_cells()")
        shown = re.search(r"[0-9a-f]{8}-[0-9a-f-]{27}", notebook.text(wired)) or _id_in(notebook.outputs(wired))
        if notebook.error(wired) is not None or shown is None:
            run.refused = notebook.text(wired).strip()
            return run
        dispatch = shown if isinstance(shown, str) else shown[0]
        notebook.hidden(_wait_line(dispatch))
        found_there = _collected(notebook, folder, dispatch=dispatch, ids=[dispatch])
        nodes = found_there["dispatches"][dispatch]["nodes"]
        for n, node in _with_cells(nodes, electrons):
            run.outputs[n] = node["outputs"] + _as_error(node)
    else:
        found_there = _collected(notebook, folder)
    run.names, run.hidden, run.unavailable = found_there["names"], found_there["hidden"], found_there["unavailable"]
    return run


def _electron_in(outputs: Sequence[Output]) -> str:
    """Return the name of the electron that a cell has become."""
    texts = ("".join(one.get("data", {}).get("text/plain", "")) for one in outputs)
    return next((found[1] for found in (re.match(r"electron (\w+)", text) for text in texts) if found), "")


def _with_cells(nodes: Sequence[Any], electrons: Mapping[int, str]) -> list[tuple[int, Any]]:
    """Return the nodes with the numbers of their cells: by name if each is known, else in order."""
    cells = {name: n for n, name in electrons.items()}
    if {node["name"] for node in nodes} <= cells.keys():
        return [(cells[node["name"]], node) for node in nodes]
    return list(zip(electrons, nodes, strict=False))


def _id_in(outputs: Sequence[Output]) -> str | None:
    for one in outputs:
        for kind, content in one.get("data", {}).items():
            if kind.startswith("application/vnd.covalab") and isinstance(content, dict) and "id" in content:
                return str(content["id"])
    return None


def _wait_line(dispatch: str) -> str:
    """Return code that waits for a dispatch and what it brings to the notebook, without a value for `_`."""
    return f"get_ipython().run_line_magic('result', '{dispatch} --wait') and None"


def _as_error(node: dict[str, Any]) -> list[Output]:
    """Return the error of a node as an output, if its outputs have none; a node that never began has none."""
    if not node["error"] or node["status"] != "FAILED" or error_of(node["outputs"]) is not None:
        return []
    lines = node["error"].strip().splitlines()
    name, _, value = lines[-1].partition(": ")
    return [{"output_type": "error", "ename": name, "evalue": value, "traceback": lines}]


def _wait(client: Client, dispatch: str) -> None:
    deadline = time.monotonic() + _STUCK
    while client.summary(dispatch).ended_at is None:
        assert time.monotonic() < deadline, f"dispatch {dispatch} has not ended"
        time.sleep(0.05)


# The collector.


def _collected(notebook: Notebook, folder: Path, *, dispatch: str | None = None, ids: Sequence[str] = ()) -> Any:
    path = folder / "collected.json"
    notebook.hidden(_call(f"collect(get_ipython(), {str(path)!r}, {dispatch!r}, {tuple(ids)!r})"))
    return json.loads(path.read_text())


def _call(call: str) -> str:
    """Return code that calls a function of the collector, shows nothing and sets no name."""
    function, _, arguments = call.partition("(")
    return f"__import__('runpy').run_path({str(_COLLECT)!r})[{function!r}]({arguments}"


# Which cells people leave as they are.


def plain_cells(cells: Sequence[str]) -> frozenset[int]:
    """Return the cells that only import, define and set options, and need nothing that other cells make."""
    plain: set[int] = set()
    made: set[str] = set()
    for n, cell in enumerate(cells):
        tree = _parsed(cell)
        if tree is not None and _only_prepares(tree) and not made & {*_needed_at_once(tree)}:
            plain.add(n)
        else:
            made |= _bound(tree) if tree is not None else set()
            if tree is not None and any(getattr(one, "module", "") == "__future__" for one in tree.body):
                break  # it is for all cells after it
    return frozenset(plain)


def _parsed(cell: str) -> ast.Module | None:
    if cell.lstrip().startswith("%%"):
        return None
    try:
        return ast.parse(TransformerManager().transform_cell(cell))
    except SyntaxError:
        return None


def _only_prepares(tree: ast.Module) -> bool:
    return bool(tree.body) and all(
        isinstance(one, (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        or (isinstance(one, (ast.Assign, ast.Expr)) and _is_setting(one))
        for one in tree.body
    )


def _is_setting(statement: ast.Assign | ast.Expr) -> bool:
    """Return whether a statement sets an option of a module, such as `plt.rcParams[...] = `."""
    text = ast.unparse(statement)
    return bool(
        re.match(
            r"(plt|mpl|pd|np|sns|sp|pio|warnings|os|sys|get_ipython\(\))"
            r"\.(rcParams|options|set_|style\.use|seterr|environ|filterwarnings|simplefilter|renderers"
            # What these need may not be there yet.
            r"|run_line_magic\('(?!(cd|run|reset|reset_selective|macro|history|who_ls)')"
            r"|setrecursionlimit|init_printing)",
            text,
        )
    )


def _needed_at_once(tree: ast.Module) -> list[str]:
    """Return the names that are read when the cell runs, not when a function of it is called."""
    found: list[str] = []

    def visit(node: ast.AST) -> None:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for part in [*node.decorator_list, node.args, *([node.returns] if node.returns else [])]:
                visit(part)
            return
        if isinstance(node, ast.Lambda):
            visit(node.args)
            return
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            found.append(node.id)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(tree)
    return found


def _bound(tree: ast.Module) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            found.add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
            found.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
    return found
