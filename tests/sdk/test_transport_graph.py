"""The transport graph by Covalent's methods, from a lattice, from a dispatch, and made by hand."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import networkx as nx
import pytest

import covalab as ct
from covalab.client import Client
from covalab.core.hooks import Bash, Hooks, Pip
from covalab.sdk.building.transport_graph import TransportGraph
from covalab.sdk.hooks.hook_set import HookSet


@ct.electron(executor="local")
def load(n: int) -> tuple[list[int], str]:
    """Return two things."""
    print("loading")
    return list(range(n)), "label"


@ct.electron
def total(*xs: int, scale: int = 1) -> int:
    """Add up."""
    return sum(xs) * scale


@ct.lattice
def workflow(n: int) -> Any:
    """Unpack, calculate, wait."""
    xs, label = load(n)
    t: Any = total(xs[0], 5, scale=2)
    t.wait_for(label)
    return t + 1


def built() -> TransportGraph:
    """Return the graph of the workflow."""
    workflow.build_graph(3)
    return workflow.transport_graph


def links(graph: TransportGraph) -> list[Any]:
    """Return the edges with all their attributes."""
    return sorted(map(repr, graph._graph.edges(data=True, keys=True)))


def test_nodes_are_numbered_and_named_as_covalents() -> None:
    """An electron before its arguments, derived nodes where they are made, the output last, with its argument."""
    graph = built()

    assert [graph.get_node_value(node, "name") for node in range(len(graph))] == [
        *("load", ":parameter:3", ":load()[0]", ":parameter:0", ":load()[1]", ":parameter:1"),
        *("::load()[0].__getitem__", ":parameter:0", "total", ":parameter:5", ":parameter:2"),
        *("total_+_1", ":parameter:1", ":postprocess:reconstruct"),
    ]


def test_nodes_have_covalents_attributes() -> None:
    """Name, function, metadata, task group, source; parameters a value and an output."""
    graph = built()
    electron, parameter = graph._graph.nodes[0], graph._graph.nodes[1]

    assert set(electron) == {"name", "function", "metadata", "task_group_id", "function_string"}
    assert electron["function"].get_deserialized()(2) == ([0, 1], "label")
    assert electron["metadata"]["executor"] == "local"
    assert electron["task_group_id"] == 0
    assert "def load" in electron["function_string"]
    assert parameter["value"].get_deserialized() == parameter["output"].get_deserialized() == 3
    assert "function_string" not in parameter


def test_edges_have_covalents_attributes() -> None:
    """Parameter's name, kind and position; a wait has only its name; positions of a star are numbered."""
    graph = built()

    assert graph.get_edge_data(1, 0) == {0: {"edge_name": "n", "param_type": "arg", "arg_index": 0}}
    assert graph.get_edge_data(6, 8) == {0: {"edge_name": "arg[0]", "param_type": "arg", "arg_index": 0}}
    assert graph.get_edge_data(10, 8) == {0: {"edge_name": "scale", "param_type": "kwarg", "arg_index": None}}
    assert graph.get_edge_data(4, 8) == {0: {"edge_name": "!waiting_edge"}}
    assert graph.get_edge_data(0, 8) == {}
    assert graph.get_dependencies(8) == [6, 9, 10, 4]
    assert graph.get_dependencies(1) == []


def test_the_networkx_graph_says_the_same() -> None:
    """Before and after it was made, through the methods and directly; it is one graph, its copy another."""
    before = built()
    after = copy.copy(before)
    assert isinstance(after._graph, nx.MultiDiGraph)

    assert before._made is None
    assert len(before) == len(after) == len(after._graph) == 14
    for node in range(14):
        assert before.get_node_value(node, "name") == after.get_node_value(node, "name")
        assert before.get_dependencies(node) == after.get_dependencies(node)
        for source in range(14):
            assert before.get_edge_data(source, node) == after.get_edge_data(source, node)
    assert after._graph is after._graph
    assert after.get_internal_graph_copy() is not after._graph
    assert nx.is_directed_acyclic_graph(after._graph)


def test_a_missing_node_or_attribute_is_a_key_error() -> None:
    """Before and after the networkx graph was made; reading, setting and resetting."""
    graph = built()
    for _ in range(2):
        with pytest.raises(KeyError, match="no node 99"):
            graph.get_node_value(99, "name")
        with pytest.raises(KeyError, match="has no 'colour'"):
            graph.get_node_value(0, "colour")
        assert graph._graph is not None
    with pytest.raises(KeyError, match="no node 99"):
        graph.set_node_value(99, "name", "x")
    with pytest.raises(KeyError, match="no node 99"):
        graph.reset_node(99)


def test_a_graph_can_be_made_by_hand() -> None:
    """Nodes get the next number; edges, values, resets; parallel edges stay apart."""
    graph = TransportGraph()
    assert len(graph) == 0
    one = graph.add_node("one", abs, {"executor": "local"})
    two = graph.add_node("two", None, {}, task_group_id=one, value=ct.TransportableObject(5))
    graph.add_edge(two, one, "x", param_type="arg", arg_index=0)
    graph.add_edge(two, one, "y", param_type="kwarg", arg_index=None)

    assert (one, two, len(graph)) == (0, 1, 2)
    assert graph.get_node_value(one, "function").get_deserialized()(-3) == 3
    assert graph.get_node_value(two, "task_group_id") == one
    assert graph.get_node_value(two, "value").get_deserialized() == 5
    assert [data["edge_name"] for data in graph.get_edge_data(two, one).values()] == ["x", "y"]
    graph.set_node_value(one, "status", ct.status.COMPLETED)
    assert graph.get_node_value(one, "status") == "COMPLETED"
    graph.reset_node(one)
    assert graph.get_node_value(one, "status") == "NEW_OBJECT"
    assert graph.get_node_value(one, "output") is None
    assert set(graph.dirty_nodes) == {one}
    graph.reset()
    assert len(graph) == 0


@pytest.mark.parametrize("form", ["", "_to_json"])
def test_a_graph_comes_back_as_it_went(form: str) -> None:
    """Pickled and as JSON: nodes, edges, lattice metadata; with `metadata_only` without what is heavy."""
    graph, other, light = built(), TransportGraph(), TransportGraph()
    back = "deserialize" + form.replace("to", "from")
    getattr(other, back)(getattr(graph, "serialize" + form)())
    getattr(light, back)(getattr(graph, "serialize" + form)(metadata_only=True))

    assert links(other) == links(graph) == links(light)
    assert other.lattice_metadata == graph.lattice_metadata == light.lattice_metadata
    assert other.get_node_value(0, "function").get_deserialized()(2) == ([0, 1], "label")
    assert other.get_node_value(1, "value") == graph.get_node_value(1, "value")
    assert set(light._graph.nodes[0]) == {"name", "metadata", "task_group_id"}


def test_the_graph_of_a_result_has_what_became_of_the_nodes(live: Client) -> None:
    """Status, times, output, streams, ids; changing it changes no record; it travels as JSON, too."""
    result = ct.dispatch_sync(workflow)(3)
    graph = result.lattice.transport_graph
    node = graph._graph.nodes[0]

    assert node["status"] == graph.get_node_value(0, "status") == ct.status.COMPLETED
    assert node["output"].get_deserialized() == ([0, 1, 2], "label")
    assert node["stdout"] == "loading\n"
    assert node["start_time"] <= node["end_time"]
    assert node["error"] is node["sublattice_result"] is node["sub_dispatch_id"] is None
    other = TransportGraph()
    other.deserialize_from_json(graph.serialize_to_json())
    assert other.get_node_value(0, "start_time") == node["start_time"]
    assert other.get_node_value(0, "status") == "COMPLETED"
    graph.reset_node(0)
    assert graph.get_node_value(0, "output") is None
    assert result.get_node_result(0)["output"].get_deserialized() == ([0, 1, 2], "label")


def told(inside: Any) -> list[Any]:
    """Return which hooks are there: kinds of dependencies, or kinds and keywords of calls."""
    if isinstance(inside, dict):
        return sorted(inside)
    return [(one["type"], one["attributes"]["retval_keyword"]) for one in inside]


def test_hooks_show_in_the_graph_and_in_what_is_read_back(live: Client) -> None:
    """As Covalent's metadata has them: given as such or as calls, the lattice's where there are none of its own."""

    def prepare(x: int) -> int:
        return x

    @ct.electron(deps_bash=["true"], call_before=[ct.DepsBash("true"), ct.DepsCall(prepare, [1], retval_keyword="y")])
    def own(y: int = 0) -> int:
        return y

    @ct.electron
    def none() -> int:
        return 1

    @ct.electron(call_before=ct.DepsBash("true"), call_after=ct.DepsCall(prepare, kwargs={"x": 2}))
    def only_calls() -> tuple[int, int]:
        return 1, 2

    @ct.lattice(deps_bash="true", call_after=ct.DepsBash("true"))
    def workflow() -> Any:
        a, b = only_calls()
        return own(), none(), a, b

    workflow.build_graph()
    result = ct.get_result(ct.dispatch(workflow)(), wait=True)
    assert result.result == [1, 1, 1, 2], result.error
    seen = []
    for graph in (workflow.transport_graph, result.lattice.transport_graph):
        nodes = range(len(graph))
        found = {graph.get_node_value(n, "name"): graph.get_node_value(n, "metadata")["hooks"] for n in nodes}
        words = {name: {part: told(inside) for part, inside in hooks.items()} for name, hooks in found.items()}
        assert words["own"] == {"deps": ["bash"], "call_before": [("DepsBash", ""), ("DepsCall", "y")]}
        assert words["none"] == {"deps": ["bash"], "call_after": [("DepsBash", "")]}
        assert words["only_calls"] == {"call_before": [("DepsBash", "")], "call_after": [("DepsCall", "")]}
        assert words[":only_calls()[0]"] == {}
        made = ct.DepsCall().from_dict(found["only_calls"]["call_after"][0])
        assert made.apply_kwargs.get_deserialized() == {"x": 2}
        assert graph._graph.nodes[0]["metadata"]["hooks"]
        seen.append(words)
    assert seen[0] == seen[1]


def test_hooks_that_an_earlier_version_recorded_are_read() -> None:
    """It did not write down which were given as calls: the first commands and packages are taken for dependencies."""
    cases: list[tuple[list[Any], int]] = [
        ([Bash(["a"]), Pip(["b"]), Bash(["c"])], 2),
        ([Pip(["b"])], 1),
        ([Bash(["a"]), Bash(["c"])], 1),
    ]
    for before, deps in cases:
        found = HookSet.recorded(Hooks(before)).metadata
        assert len(found["deps"]) == deps
        assert len(found.get("call_before", ())) == len(before) - deps
    assert msgspec.msgpack.decode(msgspec.msgpack.encode({"before": [], "after": []}), type=Hooks).n_deps == -1
