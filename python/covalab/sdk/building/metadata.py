"""Metadata of an electron or a lattice, by Covalent's names: a dictionary that changes what it describes.

Programs change executors so after the decorator has run (Covalent's issues 1587 and 1706).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from covalab.core.errors import GraphError
from covalab.sdk.values import FieldDict, UserValue

if TYPE_CHECKING:
    from covalab.sdk.building.executor_choice import ExecutorInstance, ExecutorSpec


class Described(Protocol):
    """Electron or lattice, as its metadata changes it."""

    @property
    def metadata(self) -> FieldDict:
        """The settings by Covalent's names."""
        ...

    def set_metadata(self, name: str, value: UserValue) -> None:
        """Change one setting."""
        ...


class Metadata(dict[str, Any]):
    """Settings by Covalent's names. An entry that is written becomes a setting of the owner; none can be removed."""

    def __init__(self, owner: Described, settings: FieldDict) -> None:
        super().__init__(settings)
        self._owner = owner

    def __setitem__(self, name: str, value: UserValue) -> None:
        self._owner.set_metadata(name, value)
        super().update(self._owner.metadata)  # one setting shows in two entries: an executor and its data

    def update(self, *several: Any, **named: Any) -> None:
        """Change several settings."""
        for name, value in dict(*several, **named).items():
            self[name] = value

    def __ior__(self, several: Any) -> Any:  # type: ignore[misc]
        self.update(several)
        return self

    def setdefault(self, name: str, default: UserValue = None) -> UserValue:
        """Change a setting for which there is no entry yet; return what the entry is."""
        if name not in self:
            self[name] = default
        return self[name]

    def __delitem__(self, name: str) -> NoReturn:
        message = f"metadata {name!r} cannot be removed; set it to None"
        raise GraphError(message)

    def pop(self, name: str, *_: UserValue) -> NoReturn:
        """Refuse: a setting has a value as long as there is an electron."""
        del self[name]

    def popitem(self) -> NoReturn:
        """Refuse, as `pop`."""
        del self["executor"]

    clear = popitem

    def __reduce__(self) -> tuple[Any, ...]:
        return dict, (dict(self),)  # a copy describes, and changes nothing


def executor_of(executor: ExecutorSpec | None, data: Any) -> ExecutorSpec | None:
    """Return the executor that an ``executor_data`` entry describes; `executor` is the one so far.

    Raises
    ------
    GraphError
        If it is no dictionary as `to_dict` of an executor returns.
    ExecutorNotFound
        If there is no executor of that name here.
    """
    if not data:
        return executor if isinstance(executor, str) or executor is None else executor.short_name()
    if not isinstance(data, Mapping) or not {"short_name", "attributes"} <= set(data):
        message = f"`executor_data` is what `to_dict()` of an executor returns, not {data!r}"
        raise GraphError(message)
    from covalab.executors.manager import _executor_manager  # noqa: PLC0415 - it looks for plug-ins

    cls: Any = _executor_manager.find(data["short_name"])
    made: ExecutorInstance = cls.__new__(cls).from_dict(dict(data))  # its arguments are not known, its attributes are
    return made
