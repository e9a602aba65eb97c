"""What stands in for a value that a cell did not leave behind.

A notebook forgives a name that is not set as long as nobody reads it. A cell that became a function must return
something for it: an `Missing`, which the next cell takes as what it is.
"""

from __future__ import annotations

import io
import types
from typing import Any, Final

_CLOUDPICKLE_KNOWS: Final = (types.FunctionType, types.ModuleType, type)
_NEVER: Final = (io.IOBase, types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType)


class Missing:
    """A name that a cell did not set on this run, or set to something that cannot be kept; `why` says which."""

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
    """Return the value, or an `Missing` when it is plainly of a kind that no pickle can hold (a file, a connection).

    Looks at the value itself, not at what it contains: a cell that leaves an open file behind has not failed, and
    asking must not cost as much as storing.
    """
    if isinstance(value, _CLOUDPICKLE_KNOWS):
        return value
    try:
        if not isinstance(value, _NEVER):
            value.__reduce_ex__(5)
            return value
    except Exception:  # noqa: BLE001, S110 - whatever __reduce__ raises means the same here
        pass
    kind = type(value)
    return Missing(name, electron, f"left a {kind.__module__}.{kind.__qualname__} in it, which cannot be stored")
