"""Helpers of the magics: the decorator, evaluation of expressions, ids that may be in a variable."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import CodeType
from typing import Any, Final, TypeVar, cast

from IPython.core.magic import no_var_expand
from IPython.core.magic_arguments import magic_arguments

_Method = TypeVar("_Method", bound=Callable[..., Any])
_TAG: Final = re.compile(r"--tag(?:=|\s+)(\S+)\s+")


def magic(kind: Any, *options: Any) -> Callable[[_Method], _Method]:
    """Make a method a magic with these options; `$` and `{}` in its line are not expanded."""

    def decorate(method: _Method) -> _Method:
        method = kind(method)
        for option in reversed(options):
            method = option(method)
        return cast("_Method", no_var_expand(magic_arguments()(method)))

    return decorate


def evaluate(code: CodeType | str, namespace: dict[str, Any], extra: dict[str, Any] | None = None) -> Any:
    """Evaluate an expression of the user in the notebook's namespace; `extra` are names beside those."""
    return eval(code, namespace, extra)  # noqa: S307 - the user's own code, in the user's own kernel


def id_in(shell: Any, text: str) -> str:
    """Return the id that a variable of the notebook holds, else the text itself without quotes around it."""
    held = shell.user_ns.get(text)
    return str(held) if isinstance(held, str) else text.strip("'\"")


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
