"""Delivery: puts what a cell made in another process into the notebook."""

from __future__ import annotations

import gc
import types
from collections.abc import Mapping
from typing import Any

import msgspec

from covalab.core.codec import USERS_ERRORS
from covalab.core.errors import CovalabError
from covalab.namespace.definitions import TARGET
from covalab.namespace.in_place import (
    CannotChangeError,
    change_cell,
    change_class,
    change_function,
    is_iterator,
    replace_content,
)
from covalab.namespace.object_state import ObjectStates

_OBJECTS_LIMIT = 100_000
"""Objects that are looked at for the name of one of them."""


class Reply(msgspec.Struct):
    """Head of a reply: what it contains besides values.

    Attributes
    ----------
    deleted
        Names that were sent and are gone.
    changed
        The numbers of the objects whose content follows.
    unsendable
        Names that cannot be pickled, with the reason.
    lost
        The numbers of the objects whose content cannot be pickled any more, with the reason.
    """

    deleted: list[str]
    changed: list[int]
    unsendable: dict[str, str]
    lost: list[tuple[int, str]] = []


class Delivered(msgspec.Struct, frozen=True):
    """Result of a delivery.

    Attributes
    ----------
    names
        Names that mean something new.
    changed
        Names of the notebook whose object was changed in place.
    deleted
        Names that are gone.
    unsendable
        Names that the cell made and that cannot be pickled, with the reason; objects too, by the name that has them.
    warnings
        Sentences for the user.
    """

    names: tuple[str, ...]
    changed: tuple[str, ...]
    deleted: tuple[str, ...]
    unsendable: dict[str, str]
    warnings: tuple[str, ...]


class DeliveryError(CovalabError):
    """A delivery failed in the middle."""


def apply_reply(
    reply: Reply,
    values: dict[str, Any],
    contents: Mapping[int, Any],
    states: ObjectStates,
    before: Mapping[str, Any],
    namespace: dict[str, Any],
) -> Delivered:
    """Change objects in place, then bind and delete names."""
    delivery = _Delivery(states, before, namespace)
    delivery.look_at(reply, values, contents)
    delivery.change(contents)
    delivery.bind(values, reply.deleted)
    lost = {delivery.name_of(number): reason for number, reason in reply.lost}
    return Delivered(
        names=tuple(values),
        changed=tuple(dict.fromkeys(name for number in contents for name in delivery.names_of(number))),
        deleted=tuple(reply.deleted),
        unsendable={**lost, **reply.unsendable},
        warnings=tuple(delivery.warnings),
    )


class _Delivery:
    def __init__(self, states: ObjectStates, before: Mapping[str, Any], namespace: dict[str, Any]) -> None:
        self._states = states
        self._before = before
        self._namespace = namespace
        self._replaced: list[tuple[Any, Any]] = []
        self.warnings: list[str] = []

    def look_at(self, reply: Reply, values: Mapping[str, Any], contents: Mapping[int, Any]) -> None:
        """Find what the notebook did meanwhile to the same names and objects."""
        names = dict.fromkeys(self.name_of(number) for number in contents if self._states.is_changed(number))
        for name in names:
            self.warnings.append(
                f"{name!r} was changed in the notebook while the cell ran; it has now what the cell made of it"
            )
        for name, sent in self._before.items():
            if self._namespace.get(name, TARGET) is sent or name in names:
                continue
            if name in values or name in reply.deleted:
                text = "the cell's result has replaced that" if name in values else "the cell has deleted it"
                self.warnings.append(f"{name!r} was set in the notebook while the cell ran; {text}")
            elif any(self._states.objects[number] is sent for number in contents):
                text = "stays so; the cell changed the object that it meant before"
                self.warnings.append(f"{name!r} was set in the notebook while the cell ran and {text}")

    def change(self, contents: Mapping[int, Any]) -> None:
        """Change objects in place; what cannot be is replaced where a name of the notebook means it."""
        done: list[int] = []
        try:
            # Iterators last: how far they are depends on what they go through. Otherwise as they were sent.
            for number in sorted(
                contents, key=lambda number: (is_iterator(type(self._states.objects[number])), number)
            ):
                self._change_one(number, contents[number])
                done.append(number)
        except USERS_ERRORS as error:
            names = ", ".join(dict.fromkeys(self.name_of(number) for number in done))
            rest = f"changed already: {names}" if names else "nothing in the notebook was changed"
            text = f"the cell's result could not be put into the notebook: {type(error).__name__}: {error}; {rest}"
            raise DeliveryError(text) from error

    def _change_one(self, number: int, content: Any) -> None:
        old = self._states.objects[number]
        if issubclass(type(old), type):
            change_class(old, *content)
        elif issubclass(type(old), types.FunctionType):
            change_function(old, content)
        elif issubclass(type(old), types.CellType):
            change_cell(old, content)
        else:
            try:
                replace_content(old, content)
            except CannotChangeError as error:
                self._replaced.append((old, content))
                self.warnings.append(
                    f"{self.name_of(number)!r} is another object now than before the cell, because {error}; "
                    "whatever else referred to the former one still has that"
                )

    def bind(self, values: dict[str, Any], deleted: list[str]) -> None:
        """Bind and delete names."""
        for old, new in self._replaced:
            for bound in (values, self._namespace):
                bound.update({name: new for name, value in bound.items() if value is old})
        self._namespace.update({name: self._namespace if value is TARGET else value for name, value in values.items()})
        for name in deleted:
            self._namespace.pop(name, None)

    def names_of(self, number: int) -> list[str]:
        """Return the names of the notebook that mean an object."""
        obj = self._states.objects[number]
        return [name for name, value in self._namespace.items() if value is obj]

    def name_of(self, number: int) -> str:
        """Return a name by which the user knows an object, or something that it is in."""
        obj = self._states.objects[number]
        for names in (self._before, self._namespace):
            for name, value in names.items():
                if value is obj:
                    return name
        return next((name for name, value in self._before.items() if _is_inside(obj, value)), type(obj).__name__)


def _is_inside(obj: Any, owner: Any) -> bool:
    """Return whether an object can be reached from another one."""
    seen = {id(owner)}
    level = [owner]
    while level and len(seen) < _OBJECTS_LIMIT:
        deeper = []
        for one in gc.get_referents(*level):
            if one is obj:
                return True
            if id(one) not in seen and gc.is_tracked(one) and not isinstance(one, type | types.ModuleType):
                seen.add(id(one))
                deeper.append(one)
        level = deeper
    return False
