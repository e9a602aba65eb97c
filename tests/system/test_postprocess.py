"""How a lattice's value is made from the values of its electrons, other than by the reader."""

from __future__ import annotations

from typing import Any

import pytest

import covalab as ct
from covalab.client import Client
from covalab.core.errors import GraphError


@ct.electron
def double(x: int) -> int:
    """Double."""
    return 2 * x


@ct.electron
@ct.lattice
def inner(x: int) -> Any:
    """Be a sublattice."""
    return double(x)


def test_exhaustive_postprocess_runs_the_function_with_the_values_of_its_electrons(
    live: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Node `:postprocess:` takes the outputs of electrons and sublattices in order, and its value is the result."""
    monkeypatch.setenv("COVALAB_EXHAUSTIVE_POSTPROCESS", "true")

    @ct.lattice
    def flow(x: int, shift: int = 1) -> Any:
        first = double(x)
        second = inner(first) + shift
        return first, {"second": second, "both": {first}}

    result = ct.dispatch_sync(flow)(3, shift=10)
    graph = live.graph(result.dispatch_id)
    inputs = [(edge.name, graph.nodes[edge.source].name) for edge in graph.edges if edge.target == graph.output]

    assert result.error is None
    assert result.result == (6, {"second": 22, "both": {6}})
    assert graph.nodes[graph.output].name == ":postprocess:"
    assert [name for name in inputs if name[0] != "!waiting_edge"] == [
        ("arg[0]", "double"),
        ("arg[1]", ":sublattice:inner"),
    ]
    assert result.get_node_result(graph.output)["status"] == ct.status.COMPLETED


def test_post_process_runs_the_function_in_the_client(live: Client) -> None:
    """With the recorded values, also of sublattices; operators are calculated again."""

    @ct.lattice
    def flow(x: int) -> Any:
        first = double(x)
        return first, inner(first) + 1

    result = ct.dispatch_sync(flow)(3)

    assert result.result == [6, 13]
    assert result.post_process() == (6, 13)
    assert ct.get_result(result.dispatch_id, intermediate_outputs=False).post_process() == (6, 13)


def test_post_process_names_the_electrons_without_a_value(live: Client) -> None:
    """A dispatch that failed cannot be post-processed."""

    @ct.electron
    def explode(x: int) -> int:
        raise ValueError(x)

    @ct.lattice
    def flow(x: int) -> Any:
        return explode(double(x))

    with pytest.raises(GraphError, match=r"no value yet of explode \(2\)"):
        ct.dispatch_sync(flow)(1).post_process()
