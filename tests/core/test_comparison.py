"""Comparison of two dispatches: what counts as a difference, and how much of it a page gets."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from covalab.core.comparison import PAIRS_SHOWN, Output, Side, SideNode, compare, difference_view, side_of
from covalab.core.dispatch_provenance import provenance_of
from covalab.core.model import (
    Counts,
    Digest,
    DispatchId,
    DispatchSummary,
    Edge,
    EdgeKind,
    Environment,
    Graph,
    Node,
    NodeKind,
    NodeState,
    Origin,
    Submission,
    Value,
)

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


def test_siblings_are_compared_with_those_of_the_same_arguments() -> None:
    """A sweep with one more call at its beginning: the rest is the same, and the inputs have names for a reader."""
    one, other = (_sweep(*depths) for depths in ((1, 2), (0, 1, 2)))
    found = compare(one, other)
    assert found.arguments == {"depth of fit(depth=0)": (None, "0")}
    assert one.arguments == {"rows of fit": "9", "depth of fit(depth=1)": "1", "depth of fit(depth=2)": "2"}
    assert [(pair.name, pair.same) for pair in found.nodes] == [
        ("fit(depth=1)", True),
        ("fit(depth=2)", True),
        ("fit(depth=0)", None),
    ]


def _sweep(*depths: int) -> Side:
    """Return a dispatch of one call of `fit` for each depth, with the same rows; its outputs are the depths."""
    nodes = [Node("fit", NodeKind.ELECTRON, function=0) for _ in depths]
    values = [Value(1, "int", str(number)) for number in (9, *depths)]
    edges = []
    for at, value in enumerate(values):
        nodes.append(Node(f":parameter:{value.text}", NodeKind.PARAMETER, value=at))
        targets = range(len(depths)) if at == 0 else [at - 1]
        edges += [Edge(len(nodes) - 1, target, "depth" if at else "rows", EdgeKind.KWARG) for target in targets]
    graph = Graph("sweep", nodes, edges, [], [], -1)
    environment = Environment("python", "", "")
    submission = Submission(SUMMARY.id, graph, values, {}, environment, Origin(), values[0], Digest(""))
    known = provenance_of(SUMMARY, submission)
    outputs = {at: Output(f"d{depth}") for at, depth in enumerate(depths)}
    return side_of(SUMMARY, graph, [NodeState(at, "completed") for at in range(len(nodes))], known, outputs)


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
