"""Missing: the placeholder of a value that a cell did not leave behind.

A notebook forgives a name that is not set as long as nobody reads it. A cell that became a function must return
something for it: a `Missing`, which the next cell recognizes.
"""

from __future__ import annotations

import io
import types
from contextlib import suppress
from typing import Any, Final

_CLOUDPICKLE_KNOWS: Final = (types.FunctionType, types.ModuleType, type)
_NEVER: Final = (io.IOBase, types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType)


class Missing:
    """A name that a cell did not set on this run, or set to a value that cannot be stored; `why` is the reason."""

    __slots__ = ("electron", "name", "why")

    def __init__(self, name: str, electron: str, why: str = "did not set it") -> None:
        self.name, self.electron, self.why = name, electron, why

    def __repr__(self) -> str:
        return f"<no value for {self.name!r}: electron {self.electron!r} {self.why}>"

    def __reduce__(self) -> tuple[type[Missing], tuple[str, str, str]]:
        return Missing, (self.name, self.electron, self.why)

    def needed_by(self, electron: str) -> NameError:
        """Return the error for a cell that cannot do without the value."""
        return NameError(
            f"electron {electron!r} needs {self.name!r}, but electron {self.electron!r} {self.why}", name=self.name
        )


def storable_or_missing(value: Any, name: str, electron: str) -> Any:
    """Return the value, or a `Missing` if it is of a type that no pickle can hold (a file, a connection).

    Checks the value itself, not its contents: a cell that leaves an open file behind has not failed, and
    the check must not cost as much as storing.
    """
    if isinstance(value, _CLOUDPICKLE_KNOWS):
        return value
    with suppress(Exception):  # user code: whatever __reduce_ex__ raises, the value cannot be stored
        if not isinstance(value, _NEVER):
            value.__reduce_ex__(5)
            return value
    kind = type(value)
    return Missing(name, electron, f"left a {kind.__module__}.{kind.__qualname__} in it, which cannot be stored")
