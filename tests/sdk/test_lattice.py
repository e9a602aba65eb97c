"""A lattice is its function as it is now; its graph can be looked at without a dispatcher."""

from __future__ import annotations

import pickle
from typing import Any

import cloudpickle
import pytest

import covalab as ct
from covalab.core.errors import GraphError, SerializationError


@ct.electron
def add(x: Any, y: Any) -> Any:
    """Return the sum."""
    return x + y


@ct.lattice
def workflow(a: Any, b: Any = 2) -> Any:
    """Add."""
    return add(a, y=b)


def test_calling_it_runs_the_function() -> None:
    """Outside a build everything is plain Python."""
    assert workflow(1) == 3
    assert (workflow.__name__, workflow.__doc__) == ("workflow", "Add.")


def test_building_keeps_graph_and_inputs() -> None:
    """After `build_graph` the graph and the arguments can be read with Covalent's words."""
    workflow.build_graph(1, b=5)
    graph = workflow.transport_graph

    assert len(graph) == 4
    assert graph.get_node_value(0, "name") == "add"
    assert graph.get_node_value(0, "function").get_deserialized()(2, 3) == 5
    assert "def add" in graph.get_node_value(0, "function_string")
    assert graph.get_node_value(2, "value").get_deserialized() == 5
    assert graph.get_node_value(1, "output").object_string == "1"
    assert graph.get_edge_data(2, 0) == {0: {"edge_name": "y", "param_type": "kwarg", "arg_index": None}}
    assert graph.get_dependencies(0) == [1, 2]
    assert graph.lattice_metadata["executor"] == "dask"
    assert workflow.inputs is not None
    assert workflow.inputs.get_deserialized() == {"args": (1,), "kwargs": {"b": 5}}


def test_unknown_nodes_and_keys_are_key_errors() -> None:
    """The error says what there is."""
    workflow.build_graph(1)

    with pytest.raises(KeyError, match="there is no node 9; lattice 'workflow' has 4"):
        workflow.transport_graph.get_node_value(9, "name")
    with pytest.raises(KeyError, match="has no 'colour'; it has function"):
        workflow.transport_graph.get_node_value(0, "colour")


def test_the_graph_as_networkx_has_the_same_nodes_and_edges() -> None:
    """Parallel edges stay apart."""

    @ct.lattice
    def square(x: Any) -> Any:
        e = add(x, 1)
        return add(e, e)

    square.build_graph(3)
    graph = square.transport_graph._graph

    assert list(graph.nodes) == [0, 1, 2, 3, 4]
    assert graph.nodes[1]["name"] == ":parameter:3"
    assert sorted(data["edge_name"] for data in graph.get_edge_data(0, 3).values()) == ["x", "y"]


def test_it_sees_the_current_definition_of_its_electrons() -> None:
    """Defining an electron again, as re-running a cell does, changes the next graph."""
    space: dict[str, Any] = {"ct": ct}
    exec("f = ct.electron(lambda x: 'old')\nw = ct.lattice(lambda x: f(x))", space)
    exec("def new(x): return 'new'\nf = ct.electron(new)", space)

    with pytest.warns(UserWarning, match="uses 'f' as it is now"):
        space["w"].build_graph(1)

    assert space["w"].transport_graph.get_node_value(0, "name") == "new"
    assert space["w"](1) == "new"


def test_a_lattice_over_an_electron_is_one_task() -> None:
    """The documented way to run a single task."""
    single = ct.lattice(add)

    single.build_graph(1, 2)

    names = [node.name for node in single.transport_graph.graph.nodes]
    assert names == ["add", ":parameter:1", ":parameter:2", ":postprocess:reconstruct"]


def test_its_attributes_are_covalents() -> None:
    """What programs read from a lattice is there."""
    assert workflow.workflow_function.get_deserialized()(2, 3) == 5
    assert "def workflow" in workflow.workflow_function_string
    assert set(workflow.metadata) == {
        *("executor", "executor_data", "workflow_executor", "workflow_executor_data", "hooks", "triggers"),
    }
    assert workflow.get_metadata("nothing") is None
    assert workflow.python_version.startswith("3.")
    assert workflow.covalent_version == ct.__version__


def test_settings_can_be_changed() -> None:
    """The next graph sees them; what cannot be changed is refused."""
    mine = ct.lattice(lambda: add(1, 2))

    mine.set_metadata("executor", "local")
    mine.set_metadata("workflow_executor", "dask")
    mine.build_graph()

    assert mine.transport_graph.get_node_value(0, "metadata")["executor"] == "local"
    with pytest.raises(GraphError, match="`hooks` is a dictionary"):
        mine.set_metadata("hooks", {"deps": 1})


def test_an_unknown_executor_is_found_while_building() -> None:
    """Also when the lattice names it: a warning, as nodes that do not need it run."""
    elsewhere = ct.lattice(lambda: 1, executor="elsewhere")

    with pytest.warns(UserWarning, match="No executor found by name 'elsewhere'"):
        elsewhere.build_graph()


def test_what_is_not_a_function_is_refused() -> None:
    """The error shows what was given."""
    with pytest.raises(TypeError, match="lattice takes a function, not 3"):
        ct.lattice(3)  # type: ignore[call-overload]


def test_it_travels_without_its_graph() -> None:
    """A pickled lattice is its function and settings."""
    workflow.build_graph(1)

    copy = pickle.loads(cloudpickle.dumps(workflow))
    copy.build_graph(5)

    assert copy(1) == 3
    assert copy.transport_graph.get_node_value(1, "name") == ":parameter:5"


def test_a_drawing_is_svg() -> None:
    """It needs no server, and shows the electrons."""
    drawing = workflow.draw(1)

    assert str(drawing).lstrip().startswith("<svg")
    assert "add" in drawing._repr_svg_()
    assert repr(drawing) == "<picture of lattice 'workflow': 4 nodes>"


def test_it_travels_as_json_with_its_graph_and_inputs() -> None:
    """Function, settings, source, arguments and the graph that was built last; another text is refused."""
    mine = ct.lattice(lambda x: add(x, 1), executor="local")
    mine.build_graph(4)
    back = ct.Lattice.deserialize_from_json(mine.serialize_to_json())

    assert back(1) == 2
    assert back.metadata == mine.metadata
    assert back.__name__ == mine.__name__
    assert back.workflow_function_string == mine.workflow_function_string
    assert back.inputs is not None
    assert back.inputs.get_deserialized() == {"args": (4,), "kwargs": {}}
    assert back.transport_graph.get_node_value(1, "value").get_deserialized() == 4
    assert back.transport_graph.get_dependencies(0) == [1, 2]
    fresh = ct.Lattice.deserialize_from_json(ct.lattice(lambda: 1).serialize_to_json())
    assert (fresh(), fresh.inputs, len(fresh.transport_graph)) == (1, None, 0)
    for wrong in ("", "{}", '{"attributes": {"lattice": 3}}'):
        with pytest.raises(SerializationError, match="not a lattice that covalab wrote"):
            ct.Lattice.deserialize_from_json(wrong)
