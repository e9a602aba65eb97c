"""Source text of cells: tracebacks show a cell's own lines wherever its function runs.

A function made from a cell carries the whole cell in `__covalab_source__` and a file name of its own in its code.
A process that is about to call such a function (the kernel that made it, a worker that unpickled it) registers it once;
`linecache`, and with it `traceback`, IPython and debuggers, then find the text.
"""

from __future__ import annotations

import hashlib
import linecache
import re
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, Final

CELLS: Final = "__covalab_cells__"
"""The attribute in which a function travels with the texts of cells that it came from: pairs of file name and text."""
_WORD: Final = re.compile(r"[^\W\d]\w*")


READERS_OF_TEXT: Final = frozenset(
    {"eval", "exec", "query", "timeit", "run_line_magic", "run_cell_magic", "system", "getoutput", "from_formula"}
)
"""Functions and methods that read a text as code."""


def words_in(text: str) -> list[str]:
    """Return the words of a text that could be names.

    Examples
    --------
    >>> words_in("y ~ x1 + 2*log(z)")
    ['y', 'x1', 'log', 'z']
    """
    return _WORD.findall(text)


def filename_for(kind: str, name: str, text: str) -> str:
    """Return the file name for the text of a cell; another text has another name.

    Examples
    --------
    >>> filename_for("electron", "load", "x = 1")
    '<electron load 8ff436de>'
    """
    return f"<{kind} {name} {hashlib.sha256(text.encode()).hexdigest()[:8]}>"


def remember(filename: str, text: str) -> None:
    """Add the text of a file that is on no disk to `linecache`."""
    # No modification time: that is how `linecache.checkcache` knows that there is nothing to look up.
    linecache.cache[filename] = (len(text), None, [line + "\n" for line in text.split("\n")], filename)


def remember_all(sources: Mapping[str, str]) -> None:
    """Add the texts of files that are on no disk, by file name, unless they are known."""
    for filename, text in sources.items():
        if filename not in linecache.cache:
            remember(filename, text)


def text_of(filename: str) -> str | None:
    """Return the text of a file that is on no disk, if it is known."""
    entry = linecache.cache.get(filename)
    if entry is None or len(entry) < 3 or entry[1] is not None:  # None: there is no file to look at
        return None
    return "".join(entry[2]).removesuffix("\n")


def register(function: Callable[..., Any]) -> None:
    """Register the text of a function that was made from a cell or in one; do nothing for any other function."""
    # What is called may be a class, whose names cannot be taken out.
    cells = vars(function).pop(CELLS, ()) if isinstance(function, FunctionType) else ()
    remember_all(dict(cells))
    text = getattr(function, "__covalab_source__", None)
    code = getattr(function, "__code__", None)
    if isinstance(text, str) and code is not None and code.co_filename not in linecache.cache:
        remember(code.co_filename, text)
