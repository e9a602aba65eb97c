"""Values of a graph that is being built: serialized once each, and found again by their position."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Final

from covalab.blobs import Blobs
from covalab.core.argument_parts import join_arguments, split_arguments
from covalab.core.codec import preview, printable
from covalab.core.model import Value
from covalab.sdk.values import FieldDict, UserValue

NAME_LIMIT: Final = 4_096
"""A parameter's node is called after the text of its value, as in Covalent, but cut here."""

TEXT_LIMIT: Final = 2_000
"""Characters of its text that a serialized value carries."""

_BYTES: Final = (bytes, bytearray)
_LONG: Final = (str, *_BYTES)


class ValueTable:
    """Serialized values in the order in which they were first met."""

    def __init__(self, blobs: Blobs) -> None:
        self.values: list[Value] = []
        self._blobs = blobs
        self._positions: dict[object, int] = {}
        self._by_id: dict[int, tuple[UserValue, int]] = {}
        """Read-only arrays and their positions. Each is kept alive here, so that no other object gets its id."""

    def add_atom(self, value: UserValue, kind: type, text: str) -> int:
        """Return the position of a number, text, bytes or None; serialize it if it is the first of its kind."""
        # By text where equal values are not the same value (0.0 and -0.0), by value where the text may be cut.
        key = (kind, text if kind is float or kind is complex else value)
        position = self._positions.get(key)
        if position is None:
            position = self._positions[key] = self._add(value, "a parameter", text)
        return position

    def add(self, value: UserValue, what: str, text: str) -> int:
        """Return the position of any value; `what` is how an error calls it.

        A value that may be changed between two uses is serialized for each of them: whether it was changed is noticed
        by its bytes. One that cannot change is serialized once.
        """
        kind = type(value)
        if kind is bytes or kind is str:
            return self.add_atom(value, kind, text)
        is_fixed = is_read_only_array(value)
        # Asked at each use, and before the memory is: an array may have been made writeable since.
        known = self._by_id.get(id(value)) if is_fixed else None
        if known is not None:
            return known[1]
        position = self._add(value, what, text)
        if is_fixed:
            self._by_id[id(value)] = value, position
        return position

    def _add(self, value: UserValue, what: str, text: str) -> int:
        it = self._blobs.serialize(value, what=what, text=text[:TEXT_LIMIT])
        # Equal bytes are one value, whichever object they came from.
        position = self._positions.setdefault(it.data or it.digest, len(self.values))
        if position == len(self.values):
            self.values.append(it)
        return position

    def add_inputs(self, args: tuple[UserValue, ...], kwargs: dict[str, UserValue], what: str) -> Value:
        """Serialize the arguments of a workflow as they are now; their parts become values of the table."""
        given = {"args": args, "kwargs": kwargs}
        apart = split_arguments(given, lambda part: self.add(part, what, text_of(part)))
        return self._blobs.serialize(apart, what=what, text=preview(given))


def deserialize_inputs(inputs: Value, values: Sequence[Value], blobs: Blobs) -> FieldDict:
    """Deserialize what `ValueTable.add_inputs` made: ``{"args": tuple, "kwargs": dict}``; `values` are the graph's."""
    what = "the arguments of the lattice"
    given: FieldDict = join_arguments(
        blobs.deserialize(inputs, what=what), lambda index: blobs.deserialize(values[index], what=what)
    )
    return given


def is_read_only_array(value: UserValue) -> bool:
    """Return whether a value is a NumPy array that stays the same as long as nobody makes it writeable.

    Neither it nor an array that it is a view of can be written to, and the memory is NumPy's own or that of bytes; it
    holds no Python objects. NumPy is not imported for this: where there is an array, it is imported already.
    """
    numpy = sys.modules.get("numpy")
    ndarray = getattr(numpy, "ndarray", None)
    # Not subclasses: a masked array, or a class of the user's, has state beside its elements.
    if ndarray is None or type(value) is not ndarray or value.dtype.hasobject:
        return False
    owner = value
    while type(owner) is ndarray and not owner.flags.writeable:
        if owner.base is None:
            return bool(owner.flags.owndata)
        owner = owner.base
    return type(owner) is bytes


def text_of(value: UserValue) -> str:
    """Return the text that a parameter's node is called after; never raises, never walks a large value twice."""
    if isinstance(value, _LONG):
        value = value[:NAME_LIMIT]
    try:
        return printable(repr(value) if isinstance(value, _BYTES) else str(value), NAME_LIMIT)
    except Exception:  # noqa: BLE001 - __str__ is the user's code
        return preview(value)[:NAME_LIMIT]
