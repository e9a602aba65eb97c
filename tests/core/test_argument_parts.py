"""Arguments taken apart are put together as they were, and no large part is hidden in the rest."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from covalab.core.argument_parts import ArgumentPart, join_arguments, split_arguments
from covalab.core.codec import decode, encode

LEAVES = st.none() | st.booleans() | st.integers() | st.text() | st.binary() | st.frozensets(st.integers())
NESTED = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=20,
)


@given(NESTED)
def test_what_is_taken_apart_is_put_together_again(value: Any) -> None:
    """Whatever is nested in whatever, to any depth, also after it was written and read."""
    parts: list[Any] = []

    def keep(part: Any) -> int:
        parts.append(part)
        return len(parts) - 1

    apart = decode(encode(split_arguments(value, keep)).join())

    assert join_arguments(apart, parts.__getitem__) == value


def test_a_list_that_contains_itself_is_a_part() -> None:
    """It is not followed for ever; pickle knows what to do with it."""
    knot: list[Any] = []
    knot.append(knot)

    assert repr(split_arguments((knot,), lambda _: 7)) == "([[<part 7>]],)"


def test_the_order_of_arguments_does_not_matter_for_their_parts() -> None:
    """Each part knows its own position."""
    parts = {b"one": 1, b"two": 0}

    apart = split_arguments({"args": (b"one",), "kwargs": {"x": b"two"}}, parts.__getitem__)

    assert join_arguments(apart, [b"two", b"one"].__getitem__) == {"args": (b"one",), "kwargs": {"x": b"two"}}
    assert isinstance(apart["args"][0], ArgumentPart)
