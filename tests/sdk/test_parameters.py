"""Arguments are matched as Python matches them."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from covalab.core.errors import GraphError
from covalab.sdk.building.parameters import Parameters


def plain(a, b=1): ...  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201, D103
def only(a, /, b, *, c, d=2): ...  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201, D103
def star(a, *rest, c=1): ...  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN002, ANN201, D103
def stars(a, /, *rest, **options): ...  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN002, ANN003, ANN201, D103
def nothing(): ...  # type: ignore[no-untyped-def]  # noqa: ANN201, D103


@given(
    st.sampled_from([plain, only, star, stars, nothing]),
    st.lists(st.integers(), max_size=4),
    st.dictionaries(st.sampled_from("abcdz"), st.integers(), max_size=4),
)
def test_a_call_matches_exactly_when_python_would_accept_it(function: Any, args: list[int], kwargs: Any) -> None:
    """For any call: accepted here if and only if Python would make it, twice in a row."""
    try:
        function(*args, **kwargs)
        accepted = True
    except TypeError:
        accepted = False
    parameters = Parameters(function)

    for _ in range(2):
        try:
            names, keywords = parameters.match("it", args, kwargs)
            found = True
        except (GraphError, TypeError):
            found = False
        assert found is accepted
    if accepted:
        assert len(names) >= len(args)
        assert sorted(keywords) == sorted(kwargs)


def test_a_function_without_a_signature_takes_anything() -> None:
    """Some built-ins do not tell what they take."""
    names, keywords = Parameters(dict).match("it", (1, 2), {"z": 3})

    assert (list(names), list(keywords)) == (["arg[0]", "arg[1]"], ["z"])
