"""Read the output of every node."""

from __future__ import annotations

import covalab as ct


@ct.electron
def split(text: str) -> tuple[str, str]:
    """Split in the middle."""
    return text[: len(text) // 2], text[len(text) // 2 :]


@ct.electron
def join(parts: list[str]) -> str:
    """Join with a dash."""
    return "-".join(parts)


@ct.lattice
def workflow(text: str) -> str:
    """Split and join the other way round."""
    left, right = split(text)
    return join([right, left])


def main() -> None:
    """Check keys `name(number)`, their order, and serialized values; collections are lists."""
    result = ct.dispatch_sync(workflow)("abcd")
    outputs = result.get_all_node_outputs()

    assert list(outputs) == [
        *("split(0)", ":parameter:abcd(1)", ":split()[0](2)", ":parameter:0(3)", ":split()[1](4)", ":parameter:1(5)"),
        *("join(6)", ":electron_list:(7)", ":postprocess:reconstruct(8)"),
    ]
    values = {name: closed.get_deserialized() for name, closed in outputs.items() if closed is not None}
    assert values["split(0)"] == ("ab", "cd")
    assert values[":split()[1](4)"] == "cd"
    assert values[":electron_list:(7)"] == ["cd", "ab"]
    assert values["join(6)"] == values[":postprocess:reconstruct(8)"] == result.result == "cd-ab"
    assert [node["node_id"] for node in result.get_all_node_results()] == list(range(9))
