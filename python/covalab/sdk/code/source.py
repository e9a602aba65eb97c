"""Name and source text of a function. Never raises: a function without source has an empty one."""

from __future__ import annotations

import inspect
import linecache
import os
import textwrap

from covalab.core.codec import printable
from covalab.sdk.values import UserValue


def name_of(function: UserValue) -> str:
    """Return the name of a callable; of a partial, that of its function; of an object that can be called, its type's.

    Examples
    --------
    >>> import functools
    >>> name_of(len), name_of(functools.partial(print, 1))
    ('len', 'print')
    """
    name = getattr(function, "__name__", None)
    if isinstance(name, str):
        return printable(name, len(name))
    inner = getattr(function, "func", None)
    return name_of(inner) if callable(inner) else type(function).__name__


def source_of(function: UserValue) -> str:
    """Return the source of a function. A function made from a cell carries its own, as ``__covalab_source__``."""
    carried = getattr(function, "__covalab_source__", None)
    if isinstance(carried, str):
        return printable(carried, len(carried))
    code = getattr(function, "__code__", None)
    if code is not None and code.co_filename not in linecache.cache and not os.path.isfile(code.co_filename):
        return ""  # it came from another session; `inspect` would show lines of this one's main module
    try:
        text = textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError):
        return ""
    return printable(text, len(text))


def doc_of(function: UserValue) -> str:
    """Return the docstring of a function or lattice."""
    doc = function.__doc__ or ""
    return printable(doc, len(doc))
