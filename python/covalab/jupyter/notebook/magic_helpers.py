"""Helpers of the magics: the decorator, evaluation of expressions, ids that may be in a variable."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import CodeType
from typing import Any, Final, TypeVar, cast

from IPython.core.error import UsageError
from IPython.core.magic import no_var_expand
from IPython.core.magic_arguments import magic_arguments

from covalab.core.own_attributes import own_attribute
from covalab.jupyter.notebook.magic_errors import shown_briefly
from covalab.sdk.ids import whole_id

_Method = TypeVar("_Method", bound=Callable[..., Any])
_TAG: Final = re.compile(r"--tag(?:=|\s+)(\S+)\s+")


def magic(kind: Any, *options: Any) -> Callable[[_Method], _Method]:
    """Make a method a magic with these options; `$` and `{}` in its line are not expanded, and errors shown briefly."""

    def decorate(method: _Method) -> _Method:
        method = kind(shown_briefly(method))
        for option in reversed(options):
            method = option(method)
        return cast("_Method", no_var_expand(magic_arguments()(method)))

    return decorate


def evaluate(code: CodeType | str, namespace: dict[str, Any], extra: dict[str, Any] | None = None) -> Any:
    """Evaluate an expression of the user in the notebook's namespace; `extra` are names beside those."""
    return eval(code, namespace, extra)  # noqa: S307 - the user's own code, in the user's own kernel


def id_in(shell: Any, text: str) -> str:
    """Return the id that a variable of the notebook holds, or the result in it; else the one that begins with the text.

    Raises
    ------
    AmbiguousId
        If several begin so.
    UsageError
        If there is such a variable, and it holds neither; or if there is no text.
    """
    found = text.strip("'\"").strip()
    if text in shell.user_ns:
        held = shell.user_ns[text]
        found = held if isinstance(held, str) else own_attribute(held, "dispatch_id")
        if not isinstance(found, str):
            message = (
                f"`{text}` holds no dispatch id, but an object of type {type(held).__name__}; "
                "`run = %dispatch NAME(arguments)` keeps the id, %dispatches lists those there are"
            )
            raise UsageError(message)
        found = str(found)
    if not found:
        message = "an empty text is no dispatch id; %dispatches lists those there are"
        raise UsageError(message)
    return whole_id(found)


def without_tags(line: str) -> tuple[str, list[str]]:
    """Return a line without the options ``--tag TAG`` at its beginning, and their tags.

    Examples
    --------
    >>> without_tags("--tag paper --tag=night fit(depth=3)")
    ('fit(depth=3)', ['paper', 'night'])
    """
    tags: list[str] = []
    while found := _TAG.match(line):
        tags.append(found[1])
        line = line[found.end() :]
    return line, tags
