"""Translation of magics and shell lines in a cell to plain Python; lines without a sound translation are refused.

Pure: text in, syntax tree out. A worker has no IPython: `%time` keeps its statement, `!command` runs through
`subprocess`, magics that only set up the display of the notebook are dropped.
"""

from __future__ import annotations

import ast
from typing import Final

from covalab.core.errors import CovalabError

_DROPPED: Final = frozenset({"matplotlib", "config"})
_DROPPED_CELL_MAGICS: Final = frozenset({"time", "capture"})
_AROUND_CODE: Final = (["time"], ["timeit"], ["capture"], ["prun"])
_OWN_CELL: Final = "leave it in a cell of its own without %%electron"


class CellRefused(CovalabError, ValueError):
    """A cell that cannot become a function. `line` counts as the notebook shows it."""

    def __init__(self, message: str, line: int = 0) -> None:
        self.message, self.line = message, line
        super().__init__(message, line)

    def __str__(self) -> str:
        return f"line {self.line} of the cell: {self.message}" if self.line else self.message


def parse_with_ipython_lines(source: str, filename: str, flags: int) -> ast.Module:
    """Parse a cell that plain Python cannot read, because it has lines that only IPython understands.

    Raises
    ------
    CellRefused
        If such a line means nothing outside the notebook.
    SyntaxError
        If it is not IPython either.
    """
    from IPython.core.inputtransformer2 import TransformerManager  # noqa: PLC0415 - start-up time: few cells need it

    lines = source.splitlines(keepends=True)
    for position, line in enumerate(lines):
        if line.strip():
            if line.startswith("%%"):
                lines[position] = _cell_magic(line, position + 1)
            break
    n_lines = len(lines)  # must not change: tracebacks and error messages count in lines of the cell
    lines = TransformerManager().do_token_transforms(lines)
    if len(lines) != n_lines:
        message = "a magic or shell line goes over several lines of the cell; write it on one line"
        raise CellRefused(message)
    module = compile("".join(lines), filename, "exec", flags | ast.PyCF_ONLY_AST, dont_inherit=True)
    assert isinstance(module, ast.Module)
    translated = _Translator().visit(module)
    return ast.fix_missing_locations(translated)  # type: ignore[no-any-return]


def parse_for_session(source: str, filename: str, flags: int) -> tuple[ast.Module, bool]:
    """Parse a cell that a session runs with IPython, to see its names. Return also whether it hides some.

    Raises
    ------
    SyntaxError
        If it is neither Python nor IPython.
    """
    hides_more = False
    try:
        module = compile(source, filename, "exec", flags | ast.PyCF_ONLY_AST, dont_inherit=True)
    except SyntaxError as error:
        from IPython.core.inputtransformer2 import TransformerManager  # noqa: PLC0415 - start-up time: few cells need it

        lines = source.splitlines(keepends=True)
        first = next((position for position, line in enumerate(lines) if line.strip()), 0)
        if lines[first].startswith("%%"):
            if lines[first][2:].split()[:1] not in _AROUND_CODE:
                return ast.Module([], []), True  # its body is no Python
            hides_more = len(lines[first].split()) > 1  # what follows is code, too: `%%timeit setup = 1`
            lines[first] = "\n"
        try:
            text = "".join(TransformerManager().do_token_transforms(lines))
            module = compile(text, filename, "exec", flags | ast.PyCF_ONLY_AST, dont_inherit=True)
        except SyntaxError:
            raise error from None  # of the code as it is written, not of its translation
        module = ast.fix_missing_locations(_Timed().visit(module))
    assert isinstance(module, ast.Module)
    calls = (_ipython_call(node) for node in ast.walk(module) if isinstance(node, ast.Call))
    return module, hides_more or any(call is not None for call in calls)


class _Timed(ast.NodeTransformer):
    """Rewriter of `%time statement` to the statement: what it sets stays set."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | list[ast.stmt]:
        call = _ipython_call(node.value)
        if call is not None and call[:2] == ("run_line_magic", "time"):
            return [_at(statement, node) for statement in ast.parse(call[2]).body]  # type: ignore[misc]
        return node


def _cell_magic(line: str, number: int) -> str:
    """Return the line to put in place of a second cell magic below ours."""
    name, *arguments = line[2:].split()
    if name in _DROPPED_CELL_MAGICS and not arguments:
        return "\n"  # times and output of an electron are recorded anyway
    message = f"%%{name} cannot be used inside an electron; remove the line, or {_OWN_CELL}"
    raise CellRefused(message, number)


class _Translator(ast.NodeTransformer):
    """Rewriter of the calls of `get_ipython()` that IPython's transformer put in."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | list[ast.stmt]:
        call = _ipython_call(node.value)
        if call is not None and call[0] == "run_line_magic" and call[1] == "time":
            statements = ast.parse(call[2]).body
            return [self.visit(_at(statement, node)) for statement in statements]
        if call is not None and call[0] == "run_line_magic" and call[1] in _DROPPED:
            return ast.copy_location(ast.Pass(), node)
        self.generic_visit(node)
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        call = _ipython_call(node)
        if call is None:
            return self.generic_visit(node)
        method, name, rest = call
        if method == "run_line_magic" and name == "time":
            return _at(ast.parse(rest, mode="eval").body, node)
        if method == "run_line_magic" and name.startswith("pinfo"):
            message = "asking for help (`?`) works in the notebook only; remove the line"
            raise CellRefused(message, node.lineno)
        if method in ("system", "getoutput"):
            return _at(_shell(method, name, node.lineno), node)
        message = f"the magic %{name} cannot be used inside an electron; remove the line, or {_OWN_CELL}"
        raise CellRefused(message, node.lineno)


def _ipython_call(node: ast.expr) -> tuple[str, str, str] | None:
    """Return (method, first text, second text) of a call that IPython's transformer wrote."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return None
    receiver = node.func.value
    if not (
        isinstance(receiver, ast.Call)
        and isinstance(receiver.func, ast.Name)
        and receiver.func.id == "get_ipython"
        and node.func.attr in ("run_line_magic", "run_cell_magic", "system", "getoutput")
    ):
        return None
    texts = [str(argument.value) for argument in node.args if isinstance(argument, ast.Constant)]
    first, second, *_ = [*texts, "", ""]
    return node.func.attr, first, second


def _shell(method: str, command: str, line: int) -> ast.expr:
    if command.split()[:1] in (["pip"], ["conda"], ["uv"], ["mamba"]):
        message = f"`!{command}` would install for one worker while it works; {_OWN_CELL}"
        raise CellRefused(message, line)
    if "{" in command or "$" in command:
        message = (
            f"`!{command}` takes values from the notebook; use subprocess.run with an f-string, so that the values "
            "become inputs of the electron"
        )
        raise CellRefused(message, line)
    ran = (
        f'__import__("subprocess").run({command!r}, shell=True, check=False, stdin=-3, stdout=-1, stderr=-2, text=True)'
        ".stdout"
    )
    text = f"print({ran}, end='')" if method == "system" else f"{ran}.splitlines()"
    return ast.parse(text, mode="eval").body


def _at(node: ast.AST, replaced: ast.AST) -> ast.AST:
    """Give translated code the position of the node that it replaces."""
    for inner in ast.walk(node):
        if hasattr(inner, "lineno"):
            ast.copy_location(inner, replaced)
    return node
