"""Serialize values as text, bytes or JSON and deserialize them; pass a serialized one to an electron."""

from __future__ import annotations

from typing import Any

import covalab as ct


@ct.electron
def kind(x: Any) -> str:
    """Return the name of the argument's type."""
    return type(x).__name__


@ct.lattice
def workflow(x: Any) -> str:
    """Run the task."""
    return kind(x)


def main() -> None:
    """Check that all forms deserialize to the same, and that an electron is passed the value itself."""
    closed = ct.TransportableObject({"a": (1, 2)})
    forms = [
        ct.TransportableObject.from_dict(closed.to_dict()),
        ct.TransportableObject.deserialize(closed.serialize()),
        ct.TransportableObject.deserialize_from_json(closed.serialize_to_json()),
        ct.TransportableObject.make_transportable(closed),
    ]
    assert all(form == closed and form.get_deserialized() == {"a": (1, 2)} for form in forms)
    assert closed.object_string == "{'a': (1, 2)}"
    assert ct.TransportableObject.deserialize_list([closed, [closed]]) == [{"a": (1, 2)}, [{"a": (1, 2)}]]

    result = ct.dispatch_sync(workflow)(closed)
    assert result.result == "dict"
    output = result.get_node_result(0)["output"]
    assert isinstance(output, ct.TransportableObject)
    assert output.get_deserialized() == "dict"
