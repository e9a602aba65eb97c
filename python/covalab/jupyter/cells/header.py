"""Parser of the line of `%%electron` and `%%lattice`: a signature, the outputs, options. Pure.

    NAME(parameters) -> outputs --options  # comment

Every part may be missing. The parameters are Python's, with defaults and annotations.
"""

from __future__ import annotations

import ast
import keyword
import re
import unicodedata
from typing import Final

import msgspec

from covalab.jupyter.cells.ipython_lines import CellRefused

_PIECE: Final = re.compile(
    r"""(?P<string>'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")|(?P<open>[(\[{])|(?P<close>[)\]}])|(?P<arrow>->)"""
    r"""|(?P<comment>\#)|(?P<option>(?<!\S)--?(?=[A-Za-z]))|(?P<other>.)""",
    re.DOTALL,
)


class CellHeader(msgspec.Struct, frozen=True):
    """Parts of the line. None: the part is missing; no `outputs` after `->` is an error, not an empty tuple."""

    name: str | None
    arguments: ast.arguments | None
    outputs: tuple[str, ...] | None
    options: str

    @property
    def parameters(self) -> tuple[str, ...]:
        """The names of all parameters."""
        return parameter_names(self.arguments) if self.arguments is not None else ()


def parameter_names(arguments: ast.arguments) -> tuple[str, ...]:
    """Return the names of all parameters, `*args` and `**kwargs` included."""
    every = [*arguments.posonlyargs, *arguments.args, arguments.vararg, *arguments.kwonlyargs, arguments.kwarg]
    return tuple(argument.arg for argument in every if argument is not None)


def without_comment(line: str) -> str:
    """Return a line without its `# comment`.

    Examples
    --------
    >>> without_comment("draw(color='#fff')  # white")
    "draw(color='#fff')"
    """
    for piece in _PIECE.finditer(line):
        if piece.lastgroup == "comment":
            return line[: piece.start()].rstrip()
    return line.strip()


def read_header(line: str, magic: str = "%%electron") -> CellHeader:
    """Parse the line of a magic.

    Raises
    ------
    CellRefused
        If it is not a signature, or its outputs are not names.

    Examples
    --------
    >>> header = read_header("load(n=1_000) -> X, y --retries 2  # from disk")
    >>> header.name, header.parameters, header.outputs, header.options
    ('load', ('n',), ('X', 'y'), '--retries 2')
    """
    line = without_comment(line)
    depth = 0  # of brackets: `->` and `--` inside them belong to a default or an annotation
    arrow: int | None = None
    end = len(line)
    for piece in _PIECE.finditer(line):
        group = piece.lastgroup
        if group == "open":
            depth += 1
        elif group == "close":
            depth -= 1
        elif depth == 0 and group == "arrow" and arrow is None:
            arrow = piece.start()
        elif depth == 0 and group == "option":
            end = piece.start()
            break
    signature = line[: end if arrow is None else arrow].strip()
    outputs = None if arrow is None else _outputs(line[arrow + 2 : end].strip(), magic)
    name, arguments = _signature(signature, magic)
    return CellHeader(name, arguments, outputs, line[end:].strip())


def _signature(text: str, magic: str) -> tuple[str | None, ast.arguments | None]:
    if not text:
        return None, None
    if is_name(text):
        return as_python_reads(text), None
    form = f"write `{magic} NAME(parameters)`, with Python's parameters, e.g. `{magic} fit(X, y, C=1.0)`"
    name = text.partition("(")[0].strip()
    if not is_name(name) or not text.endswith(")"):
        message = f"`{text}` is not a signature; {form}"
        raise CellRefused(message)
    try:
        definition = ast.parse(f"def {text}: pass").body
        compile(f"def {text}: pass", "<signature>", "exec", dont_inherit=True)  # names given twice, and the like
    except SyntaxError as error:
        message = f"`{text}` is not a signature ({error.msg}); {form}"
        raise CellRefused(message) from None
    if len(definition) != 1 or not isinstance(definition[0], ast.FunctionDef):
        message = f"`{text}` is not a signature; {form}"
        raise CellRefused(message)
    return definition[0].name, definition[0].args


def _outputs(text: str, magic: str) -> tuple[str, ...]:
    inside = text[1:-1] if text.startswith("(") and text.endswith(")") else text
    names = [as_python_reads(name.strip()) for name in inside.split(",")]
    if len(names) > 1 and not names[-1]:
        names.pop()
    wrong = [name for name in names if not is_name(name)]
    if wrong:
        message = (
            f"after `->` come the names of the outputs, e.g. `{magic} load(n) -> X, y`; `{text}` is something else"
        )
        raise CellRefused(message)
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        message = f"the output {twice[0]!r} is named twice after `->`"
        raise CellRefused(message)
    return tuple(names)


def as_python_reads(name: str) -> str:
    """Return a name as Python keeps it: of ``ﬁt``, with a ligature, it makes ``fit``.

    Examples
    --------
    >>> as_python_reads("\ufb01t")
    'fit'
    """
    return unicodedata.normalize("NFKC", name)


def is_name(text: str) -> bool:
    """Return whether a text is a name in Python.

    Examples
    --------
    >>> is_name("fit"), is_name("class"), is_name("a b")
    (True, False, False)
    """
    return text.isidentifier() and not keyword.iskeyword(text)


def default_arguments(tree: ast.Module) -> ast.arguments | None:
    r"""Return the parameters that a cell gives defaults for: the names to which it assigns literals. None without any.

    Examples
    --------
    >>> ast.unparse(default_arguments(ast.parse("alpha = 0.5\nname: str = 'x'\nrows = load()")))
    "alpha=0.5, name='x'"
    """
    found: dict[str, ast.expr] = {}
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            target, value = statement.targets[0], statement.value
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            target, value = statement.target, statement.value
        else:
            continue
        if isinstance(target, ast.Name) and _is_literal(value):
            found[target.id] = value
    if not found:
        return None
    return ast.arguments([], [ast.arg(name) for name in found], None, [], [], None, list(found.values()))


def _is_literal(value: ast.expr) -> bool:
    try:
        ast.literal_eval(value)
    except ValueError:
        return False
    return True
