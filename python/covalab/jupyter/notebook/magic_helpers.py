"""What the magics share: how a method becomes one, and ids that may be in a variable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

from IPython.core.magic import no_var_expand
from IPython.core.magic_arguments import magic_arguments

_Method = TypeVar("_Method", bound=Callable[..., Any])


def magic(kind: Any, *options: Any) -> Callable[[_Method], _Method]:
    """Make a method a magic with these options; its line is taken as it is written, `$` and `{}` included."""

    def decorate(method: _Method) -> _Method:
        method = kind(method)
        for option in reversed(options):
            method = option(method)
        return cast("_Method", no_var_expand(magic_arguments()(method)))

    return decorate


def id_in(shell: Any, text: str) -> str:
    """Return the id that a variable of the notebook holds, else the text itself without quotes around it."""
    held = shell.user_ns.get(text)
    return str(held) if isinstance(held, str) else text.strip("'\"")
