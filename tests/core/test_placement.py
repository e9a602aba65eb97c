"""Where nodes run, from their settings."""

from __future__ import annotations

from typing import Any

import pytest
from tests.core.graphs import PARAMETER, graph_of

from covalab.core.batching import take_batch
from covalab.core.graph_state import GraphState
from covalab.core.model import DispatchId, Edge, EdgeKind, Environment, Graph, Node, NodeKind, Settings
from covalab.core.placement import PoolKey, TaskPaths, pool_key, queues_of, task_paths

HERE = Environment("/env/bin/python", "/env", "/home")
POOL = PoolKey("pool", "/env/bin/python", "/env")
HOST = PoolKey("host", "/env/bin/python", "/env")

DISPATCH = DispatchId("id")


def saying(**attributes: Any) -> dict[str, Any]:
    """Return what an executor's instance says of itself."""
    return {"type": "x", "short_name": "dask", "attributes": attributes}


PLACES = [
    (Settings(), POOL),
    (Settings("local"), POOL),
    (Settings("slurm"), HOST),
    (Settings("dask", {}, 0, None, instance="d" * 64), HOST),  # type: ignore[arg-type]
    (Settings("dask", saying(workdir="/x", conda_env="", scheduler_address="")), POOL),
    (Settings("dask", saying(scheduler_address="tcp://a:1")), PoolKey("pool", "/env/bin/python", "/env", "tcp://a:1")),
    (Settings("local", saying(scheduler_address="tcp://a:1")), POOL),
    (Settings("local", saying(conda_env="chem")), PoolKey("pool", "/env/bin/python", "/env", "", "chem")),
    (
        Settings("dask", saying(conda_env="chem", current_env_on_conda_fail=True)),
        PoolKey("pool", "/env/bin/python", "/env", "", "chem", or_here=True),
    ),
    (Settings("dask", {"attributes": 3}), POOL),
    (Settings("dask", saying(conda_env=7)), POOL),
]


@pytest.mark.parametrize(("settings", "place"), PLACES)
def test_settings_say_where_a_node_runs(settings: Settings, place: PoolKey) -> None:
    """Built-in executors in a pool, every other in the host of its environment; nonsense is no place."""
    assert pool_key(HERE, settings) == place


def test_beside_a_configured_cluster_local_has_a_pool_of_its_own() -> None:
    """And only then: without one, `local` and `dask` are one place, whose nodes share batches."""
    home = PoolKey("pool", "/env/bin/python", "/env", home=True)
    chem = PoolKey("pool", "/env/bin/python", "/env", "", "chem", home=True)
    for settings, place in (
        (Settings("local"), home),
        (Settings("local", saying(workdir="/x")), home),
        (Settings("local", saying(conda_env="chem")), chem),
        (Settings("dask"), POOL),
        (Settings(), POOL),
        (Settings("local", {}, 0, None, instance="d" * 64), HOST),  # type: ignore[arg-type]
    ):
        assert pool_key(HERE, settings, has_cluster=True) == place

    graph = mixed(Settings(), Settings("local"))
    assert queues_of(HERE, graph, has_cluster=True) == ([POOL, home], [0, 1, 0])
    assert queues_of(HERE, graph) == ([POOL], [])


def mixed(*settings: Settings, kind: NodeKind = NodeKind.ELECTRON) -> Graph:
    """Return a chain of nodes, one for each of these settings."""
    nodes = [Node(f"n{n}", kind, 0, -1, n) for n in range(len(settings))]
    edges = [Edge(n, n + 1, "x", EdgeKind.ARG, 0) for n in range(len(settings) - 1)]
    graph = graph_of([NodeKind.ELECTRON], [])
    output = Node("out", NodeKind.OUTPUT)
    last = Edge(len(settings) - 1, len(settings), "retval", EdgeKind.ARG, 0)
    return Graph("mixed", [*nodes, output], [*edges, last], graph.functions, list(settings), len(settings))


def test_an_ordinary_graph_has_one_place_and_no_queues() -> None:
    """Also with retries and working folders in its settings."""
    assert queues_of(HERE, mixed(Settings(), Settings("local", {}, 2))) == ([POOL], [])


def test_each_place_has_a_queue() -> None:
    """In the order in which the graph uses them; a pool that nobody uses is none of them."""
    places, queues = queues_of(HERE, mixed(Settings("slurm"), Settings(), Settings("ssh")))
    assert (places, queues) == ([HOST, POOL], [0, 1, 0, 0])
    assert queues_of(HERE, mixed(Settings("slurm"))) == ([HOST], [])


def test_a_sublattice_is_built_in_the_environments_own_pool() -> None:
    """Whatever executor its lattice has."""
    assert queues_of(HERE, mixed(Settings("slurm"), kind=NodeKind.SUBLATTICE)) == ([POOL], [])


def test_nodes_of_different_places_never_share_a_batch() -> None:
    """A chain through two places is three batches; each waits in its queue."""
    graph = mixed(Settings(), Settings("slurm"), Settings())
    _, queues = queues_of(HERE, graph)
    state = GraphState(graph, [PARAMETER], queues)
    state.start(0.0)

    assert [list(queue) for queue in state.queues] == [[0], []]
    assert take_batch(state, lambda _: None, 2, 1) == []
    assert take_batch(state, lambda _: None, 2, 0) == [0]


def test_only_one_node_goes_to_a_host_at_a_time() -> None:
    """However short its siblings are."""
    nodes = [Node(f"n{n}", NodeKind.ELECTRON, 0, -1, 0) for n in range(5)]
    one = mixed(Settings("slurm"))
    edges = [Edge(n, 5, "retval", EdgeKind.ARG, n) for n in range(5)]
    graph = Graph("wide", [*nodes, Node("out", NodeKind.OUTPUT)], edges, one.functions, one.settings, 5)
    state = GraphState(graph, [PARAMETER])
    state.start(0.0)

    assert take_batch(state, lambda _: 1e-6, 2, alone=True) == [0]
    assert state.ready == [1, 2, 3, 4]


def test_a_working_folder_is_a_path_of_the_task() -> None:
    """Of its own for each node where that is wanted; the notebook's folder is none."""
    assert task_paths(Settings(), DISPATCH, 3) is None
    assert task_paths(Settings("local", saying(workdir="", log_stdout="stdout.log")), DISPATCH, 3) is None
    assert task_paths(Settings("slurm", saying(workdir="/x")), DISPATCH, 3) is None
    assert task_paths(Settings("local", saying(workdir="/x")), DISPATCH, 3) == TaskPaths("/x")
    unique = Settings("dask", saying(workdir="/x", create_unique_workdir=True))
    assert task_paths(unique, DISPATCH, 3) == TaskPaths("/x/id/node_3")
    assert task_paths(Settings("dask", saying(create_unique_workdir=True)), DISPATCH, 3) == TaskPaths("./id/node_3")


def test_logs_with_names_of_their_own_are_paths_of_the_task() -> None:
    """Relative ones lie with the results of their dispatch."""
    settings = Settings("dask", saying(log_stdout="mine.log", log_stderr="/var/x.log"))
    assert task_paths(settings, DISPATCH, 3) == TaskPaths("", "results/id/mine.log", "/var/x.log")
