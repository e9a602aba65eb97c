"""`RecordedInputs`: the arguments of a dispatch, as a dictionary and as Covalent's serialized object in one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from covalab.core.transportable import TransportableObject
from covalab.sdk.values import FieldDict, UserValue


class RecordedInputs(TransportableObject, Mapping[str, UserValue]):
    """Arguments of a dispatch: a `TransportableObject`, and a mapping of ``"args"`` and ``"kwargs"``.

    Covalent's page says that ``Result.inputs`` is a dictionary, its code that it is a `TransportableObject`. Each
    reading deserializes them anew, so what is changed in them changes nothing that was recorded.

    Examples
    --------
    >>> inputs = RecordedInputs.recorded("", lambda: {"args": (1,), "kwargs": {"x": 2}})
    >>> inputs["kwargs"], inputs.get_deserialized()["args"]
    ({'x': 2}, (1,))
    >>> inputs == {"args": (1,), "kwargs": {"x": 2}} == dict(inputs)
    True
    """

    def __getitem__(self, key: str) -> UserValue:
        return self.get_deserialized()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.get_deserialized())

    def __len__(self) -> int:
        return len(self.get_deserialized())

    def __eq__(self, other: object) -> bool:
        if isinstance(other, TransportableObject):
            return super().__eq__(other)
        return dict(self) == other

    __hash__ = TransportableObject.__hash__

    def copy(self) -> FieldDict:
        """Return a dictionary of its own, as ``dict.copy`` does."""
        return dict(self)

    def __reduce__(self) -> tuple[Callable[[FieldDict], RecordedInputs], tuple[FieldDict]]:
        return _restored, (self.to_dict(),)


def _restored(described: FieldDict) -> RecordedInputs:
    plain = TransportableObject.from_dict(described)
    return RecordedInputs.from_pickle(plain.get_pickle(), plain.object_string)
