"""How code made from a cell keeps its text, so that a traceback shows the cell's own lines wherever it runs.

A function made from a cell carries the whole cell in `__covalab_source__` and a file name of its own in its code.
Whoever is about to call such a function (the kernel that made it, a worker that unpickled it) registers it once;
`linecache`, and with it `traceback`, IPython and debuggers, then find the text. Nothing else is touched.
"""

from __future__ import annotations

import hashlib
import linecache
from collections.abc import Callable
from typing import Any


def filename_for(kind: str, name: str, text: str) -> str:
    """Return the file name under which the text of a cell is known; another text is another file.

    Examples
    --------
    >>> filename_for("electron", "load", "x = 1")
    '<electron load 8ff436de>'
    """
    return f"<{kind} {name} {hashlib.sha256(text.encode()).hexdigest()[:8]}>"


def remember(filename: str, text: str) -> None:
    """Let `linecache` find the text of a file that is on no disk."""
    # No modification time: that is how `linecache.checkcache` knows that there is nothing to look up.
    linecache.cache[filename] = (len(text), None, [line + "\n" for line in text.split("\n")], filename)


def register(function: Callable[..., Any]) -> None:
    """Make the text of a function that came from a cell known to this process; any other function is left alone."""
    text = getattr(function, "__covalab_source__", None)
    code = getattr(function, "__code__", None)
    if isinstance(text, str) and code is not None and code.co_filename not in linecache.cache:
        remember(code.co_filename, text)
