"""Enumerations of a notebook: their members come with the attributes that they have, and no code of theirs runs.

cloudpickle makes the members of their values, without `__new__`, `__init__` and names that mean the same member: they
would have no attributes of their own. Pickles name functions of this module.
"""

from __future__ import annotations

import enum
import types
from collections.abc import Mapping
from typing import Any, Final

_CONTENTS: Final = (int, str, float, complex, bytes, tuple)
"""Classes of which members may be made, beside `object`."""
_NO_ATTRIBUTES: Final[Mapping[str, Any]] = types.MappingProxyType({})


def members_of(cls: enum.EnumMeta) -> tuple[type, list[tuple[str, Any, Any]]] | None:
    """Return what members are made of, and of each name the value and that content; None if it is another class."""
    content = next((one for one in _CONTENTS if issubclass(cls, one)), object)
    own: Any = getattr(cls, "_member_type_", object)
    if content is object and own is not object:
        return None
    members: Any = cls.__members__.items()
    # A copy in the plain class, without the member's own methods.
    return content, [(name, one.value, None if content is object else _plain(content, one)) for name, one in members]


def _plain(content: Any, member: Any) -> Any:
    if content is tuple:
        return tuple(tuple.__iter__(member))
    return content(*content.__getnewargs__(member))


def attributes_of_members(cls: enum.EnumMeta) -> dict[str, dict[str, Any]]:
    """Return the attributes of each member, in the dictionary that it has."""
    members: Any = cls.__members__.values()
    return {one.name: _without_memo(vars(one)) for one in members}


def _without_memo(attributes: dict[str, Any]) -> dict[str, Any]:
    """Leave out which flag is the inverse of one, which is looked up again."""
    return attributes if attributes.get("_inverted_") is None else {**attributes, "_inverted_": None}


def own_numbering(cls: type) -> Any:
    """Return how an enumeration counts `auto()`, if it says so itself; cloudpickle leaves that out."""
    found = vars(cls).get("_generate_next_value_")
    function = getattr(found, "__func__", found)
    return found if getattr(function, "__module__", "enum") != "enum" else None


def make_members(
    kind: Any, name: str, bases: tuple[type, ...], content: type, members: list[tuple[str, Any, Any]], boundary: Any
) -> Any:
    """Return an enumeration with members that have no attributes yet."""
    namespace = enum.EnumMeta.__prepare__(name, bases)
    waiting = [(value, made_of) for _, value, made_of in members]

    def make(cls: Any, *_: object) -> Any:
        value, made_of = waiting.pop(0)
        member: Any = object.__new__(cls) if content is object else content.__new__(cls, made_of)
        member._value_ = value  # so enumerations want it
        return member

    namespace["__new__"] = make
    namespace["__init__"] = lambda *_: None
    for member, value, _ in members:
        namespace[member] = value
    options = {} if boundary is None else {"boundary": boundary}
    made = enum.EnumMeta.__new__(kind, name, bases, namespace, **options)
    for attribute in ("__init__", "__new_member__"):
        if attribute in vars(made):
            type.__delattr__(made, attribute)
    return made


def set_members(cls: enum.EnumMeta, attributes: Mapping[str, dict[str, Any]] = _NO_ATTRIBUTES) -> None:
    """Give members their attributes, in these dictionaries."""
    for name, one in attributes.items():
        member: Any = cls.__members__.get(name)
        if member is not None and vars(member) is not one:
            object.__setattr__(member, "__dict__", one)
