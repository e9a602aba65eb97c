"""Covalent's `TransportableObject`: a serialized value, with a text and a header that describe it.

One made from a recorded value deserializes it only when asked, so showing a result of gigabytes reads none of them.
"""

from __future__ import annotations

import base64
import json
import platform
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from covalab.core.codec import unpickle

if TYPE_CHECKING:
    from typing_extensions import Self

_OFFSET_BYTES = 8


class TransportableObject:
    """Pickled value.

    Parameters
    ----------
    obj : object
        Any object that cloudpickle can pickle.

    Examples
    --------
    >>> made = TransportableObject([1, 2])
    >>> made.object_string, made.get_deserialized()
    ('[1, 2]', [1, 2])
    >>> TransportableObject.deserialize(made.serialize()) == made
    True
    """

    def __init__(self, obj: Any) -> None:
        from covalab.core.pickling import dumps  # noqa: PLC0415 - pickling is not needed to import the package

        self._object_string = str(obj)
        self._pickle: bytes | None = dumps(obj)
        self._open: Callable[[], Any] | None = None
        self._header = _header(obj)

    @classmethod
    def recorded(cls, text: str, opened: Callable[[], Any]) -> Self:
        """Return one for a value that is kept elsewhere; `opened` deserializes it."""
        self = cls.__new__(cls)
        self._object_string, self._pickle, self._open = text, None, opened
        self._header = _header(None)
        return self

    @classmethod
    def from_pickle(cls, pickled: bytes, text: str) -> Self:
        """Return one around a value that is pickled already."""
        self = cls.recorded(text, lambda: None)
        self._pickle, self._open = pickled, None
        return self

    @classmethod
    def make_transportable(cls, obj: Any) -> TransportableObject:
        """Return the object itself if it is one already, else a new one around it."""
        return obj if isinstance(obj, TransportableObject) else cls(obj)

    def get_deserialized(self) -> Any:
        """Return the value, a new copy each time."""
        if self._open is not None:
            return self._open()
        return unpickle(self._bytes())

    def get_serialized(self) -> str:
        """Return the pickle in base64."""
        return base64.b64encode(self._bytes()).decode()

    def get_pickle(self) -> bytes:
        """Return the pickle."""
        return self._bytes()

    @property
    def object_string(self) -> str:
        """The value as text."""
        return self._object_string

    @property
    def python_version(self) -> str:
        """The Python that pickled the value."""
        return str(self._header["py_version"])

    @property
    def header(self) -> dict[str, Any]:
        """``py_version``, ``cloudpickle_version`` (str), ``attrs`` (dict of the value's ``name`` and ``doc``)."""
        return self._header

    @property
    def attrs(self) -> dict[str, Any]:
        """The value's name and docstring."""
        attrs: dict[str, Any] = self._header["attrs"]
        return attrs

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TransportableObject):
            return NotImplemented
        return self.to_dict() == other.to_dict()

    def __hash__(self) -> int:
        return hash(self._object_string)

    def __repr__(self) -> str:
        return f"TransportableObject({self._object_string})"

    def __reduce__(self) -> tuple[Any, ...]:
        return TransportableObject.from_dict, (self.to_dict(),)

    def to_dict(self) -> dict[str, Any]:
        """Return it as a dictionary that JSON can hold: ``type`` (str) and ``attributes`` (dict)."""
        attributes = {
            "_object": self.get_serialized(),
            "_object_string": self._object_string,
            "_header": self._header,
        }
        return {"type": "TransportableObject", "attributes": attributes}

    @staticmethod
    def from_dict(object_dict: Mapping[str, Any]) -> TransportableObject:
        """Return the object that `to_dict` described."""
        attributes = object_dict["attributes"]
        return _restored(attributes["_object"], attributes["_object_string"], attributes["_header"])

    def serialize_to_json(self) -> str:
        """Return it as JSON text."""
        return json.dumps(self.to_dict())

    @staticmethod
    def deserialize_from_json(json_string: str) -> TransportableObject:
        """Return the object that `serialize_to_json` described."""
        return TransportableObject.from_dict(json.loads(json_string))

    def serialize(self) -> bytes:
        """Return it as an archive: two offsets of eight bytes, the header as JSON, the text, the pickle in base64."""
        header = json.dumps(self._header).encode()
        text = self._object_string.encode("utf-8", "backslashreplace")
        text_at = 2 * _OFFSET_BYTES + len(header)
        offsets = text_at.to_bytes(_OFFSET_BYTES, "big") + (text_at + len(text)).to_bytes(_OFFSET_BYTES, "big")
        return offsets + header + text + self.get_serialized().encode()

    @staticmethod
    def deserialize(data: bytes) -> TransportableObject:
        """Return the object of an archive that `serialize` made."""
        text_at = int.from_bytes(data[:_OFFSET_BYTES], "big")
        data_at = int.from_bytes(data[_OFFSET_BYTES : 2 * _OFFSET_BYTES], "big")
        header = json.loads(data[2 * _OFFSET_BYTES : text_at])
        return _restored(data[data_at:].decode(), data[text_at:data_at].decode(), header)

    @staticmethod
    def deserialize_list(collection: list[Any]) -> list[Any]:
        """Deserialize every transportable object in a nesting of lists and dicts."""
        return [_opened(element) for element in collection]

    @staticmethod
    def deserialize_dict(collection: dict[Any, Any]) -> dict[Any, Any]:
        """Deserialize every transportable object in a nesting of dicts and lists."""
        return {key: _opened(element) for key, element in collection.items()}

    def _bytes(self) -> bytes:
        if self._pickle is None:
            from covalab.core.pickling import dumps  # noqa: PLC0415 - only who pickles pays for it

            return dumps(self.get_deserialized())
        return self._pickle


def _header(obj: Any) -> dict[str, Any]:
    import cloudpickle  # noqa: PLC0415 - as above

    name, doc = getattr(obj, "__name__", ""), getattr(obj, "__doc__", "")
    return {
        "py_version": platform.python_version(),
        "cloudpickle_version": cloudpickle.__version__,
        "attrs": {"doc": doc if isinstance(doc, str) else "", "name": name if isinstance(name, str) else ""},
    }


def _restored(encoded: str, text: str, header: dict[str, Any]) -> TransportableObject:
    it = TransportableObject.__new__(TransportableObject)
    it._object_string, it._pickle, it._open, it._header = text, base64.b64decode(encoded), None, header  # noqa: SLF001 - of this class
    return it


def _opened(element: Any) -> Any:
    if isinstance(element, TransportableObject):
        return element.get_deserialized()
    if isinstance(element, list):
        return TransportableObject.deserialize_list(element)
    if isinstance(element, dict):
        return TransportableObject.deserialize_dict(element)
    message = f"{element!r} is neither a TransportableObject nor a list or dict of them"
    raise TypeError(message)
