"""Names of the globals that code uses, in nested functions too; not those of attributes."""

from __future__ import annotations

import dis
import types
from typing import Final

_GLOBALS: Final = frozenset({"LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_NAME"})


def global_names(code: types.CodeType) -> list[str]:
    """Return the names of globals that code uses, each once, in the order of their first use."""
    names = [it.argval for it in dis.get_instructions(code) if it.opname in _GLOBALS]
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names += global_names(constant)
    return list(dict.fromkeys(names))
