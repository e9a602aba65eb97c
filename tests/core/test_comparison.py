"""Comparison of two dispatches: what counts as a difference, and how much of it a page gets."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from covalab.core.comparison import PAIRS_SHOWN, Side, SideNode, compare, difference_view
from covalab.core.model import Counts, DispatchId, DispatchSummary

SUMMARY = DispatchSummary(DispatchId("a"), "f", "completed", 1, 0.0, 0.0, 1.0, Counts())


@pytest.mark.parametrize(
    ("left", "right", "differs"),
    [
        ({"git commit": "1f"}, {"git commit": "1f", "uncommitted changes": "yes"}, False),
        ({"git commit": "1f", "uncommitted changes": "no"}, {"git commit": "1f"}, False),
        ({"uncommitted changes": "no"}, {"uncommitted changes": "yes"}, True),
        ({"git commit": "1f"}, {"git commit": "2e", "uncommitted changes": "no"}, True),
        ({}, {"numpy": "2.0"}, True),
    ],
)
def test_what_git_did_not_say_in_time_is_no_difference(
    left: dict[str, str], right: dict[str, str], differs: bool
) -> None:
    """Whether files were changed counts only where it is known of both."""
    one, other = Side("a", "f", "completed", versions=left), Side("b", "f", "completed", versions=right)
    assert bool(compare(one, other).versions) is differs


def test_a_page_gets_the_pairs_that_differ_first() -> None:
    """Of more than are drawn; of fewer, they come in their order."""
    nodes = [SideNode("f", "completed", 1.0, f"d{number}", node=number) for number in range(PAIRS_SHOWN + 5)]
    one = Side("a", "f", "completed", nodes=nodes, arguments={str(number): "1" for number in range(PAIRS_SHOWN + 3)})
    other = Side("b", "f", "completed", nodes=[*nodes[:-1], replace(nodes[-1], digest="other")])
    view = difference_view(compare(one, other), SUMMARY, SUMMARY)
    assert (len(view.nodes), view.more_nodes, len(view.arguments), view.more_arguments) == (
        PAIRS_SHOWN,
        5,
        PAIRS_SHOWN,
        3,
    )
    assert view.nodes[0].same is False
    assert view.nodes[0].left is not None
    assert view.nodes[0].left.node == PAIRS_SHOWN + 4
    few = [nodes[0], replace(nodes[1], digest="other")]
    short = difference_view(compare(replace(one, nodes=nodes[:2]), replace(other, nodes=few)), SUMMARY, SUMMARY)
    assert [pair.same for pair in short.nodes] == [True, False]
