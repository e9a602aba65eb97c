"""A transportable object comes back as it went, through each of its forms."""

from __future__ import annotations

import json
import pickle
import platform
from typing import Any

import pytest

from covalab.core.transportable import TransportableObject


def shout(word: str = "a") -> str:
    """Return it louder."""
    return word.upper()


@pytest.mark.parametrize("value", [None, 3, "text", [1, {"k": (2,)}], {"k": {3}}, shout, lambda: 1])
def test_every_form_gives_the_same_object(value: Any) -> None:
    """Archive, JSON, dictionary, pickle: equal to the original, with its text and header."""
    it = TransportableObject(value)
    forms = [
        TransportableObject.deserialize(it.serialize()),
        TransportableObject.deserialize_from_json(it.serialize_to_json()),
        TransportableObject.from_dict(it.to_dict()),
        pickle.loads(pickle.dumps(it)),
    ]

    for form in forms:
        assert form == it
        assert hash(form) == hash(it)
        assert form.object_string == str(value)
        assert form.header == it.header


def test_a_function_keeps_its_name_and_doc() -> None:
    """The header says what the value is called, and which Python wrote it."""
    it = TransportableObject(shout)

    assert it.attrs == {"name": "shout", "doc": "Return it louder."}
    assert it.python_version == platform.python_version()
    assert it.get_deserialized()("x") == "X"


def test_the_archive_has_covalents_layout() -> None:
    """Two offsets of eight bytes, then JSON header, text, and the pickle in base64."""
    it = TransportableObject("value")
    data = it.serialize()
    text_at, data_at = int.from_bytes(data[:8], "big"), int.from_bytes(data[8:16], "big")

    assert json.loads(data[16:text_at]) == it.header
    assert data[text_at:data_at] == b"value"
    assert data[data_at:].decode() == it.get_serialized()


def test_making_one_of_one_changes_nothing() -> None:
    """`make_transportable` is idempotent."""
    it = TransportableObject.make_transportable(5)

    assert TransportableObject.make_transportable(it) is it
    assert it != 5
    assert it != TransportableObject(6)


def test_collections_are_opened() -> None:
    """Lists and dicts of them, nested, become plain values; anything else is refused."""
    one, two = TransportableObject(1), TransportableObject(2)

    assert TransportableObject.deserialize_list([one, [two], {"k": one}]) == [1, [2], {"k": 1}]
    assert TransportableObject.deserialize_dict({"k": one, "l": [two]}) == {"k": 1, "l": [2]}
    with pytest.raises(TypeError, match="neither a TransportableObject"):
        TransportableObject.deserialize_list([3])


def test_a_recorded_value_is_opened_only_when_asked() -> None:
    """Its text costs nothing; its value is fetched each time."""
    opened: list[int] = []

    def fetch() -> str:
        opened.append(1)
        return "value"

    it = TransportableObject.recorded("text", fetch)
    shown = (it.object_string, repr(it))

    assert shown == ("text", "TransportableObject(text)")
    assert opened == []
    assert it.get_deserialized() == "value"
    assert TransportableObject.from_dict(it.to_dict()).get_deserialized() == "value"
