"""What can be said of values that nobody opened."""

from __future__ import annotations

from tests.core.test_assemble import INTO, NODES

from covalab.core.json_values import preview_json


def test_a_collection_is_told_by_the_texts_of_its_parts() -> None:
    """As a person would write it, not as the number of nodes that it is made of."""
    texts = {0: "array([1, 2])", 5: "k"}

    assert preview_json(1, NODES, INTO, texts.__getitem__) == "{(k, k): array([1, 2])}"
