"""Lattices called as electrons: each is one node, and a dispatch of its own."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.waiting import until

import covalab as ct
from covalab.client import Client
from covalab.core.errors import DispatcherError, GraphError
from covalab.core.model import NodeKind


@ct.electron
def add(x: Any, y: Any) -> Any:
    """Add."""
    return x + y


@ct.electron
def numbers(n: int) -> list[int]:
    """Return a list whose length only its reader learns."""
    return list(range(n))


@ct.electron
def explode(x: Any) -> Any:
    """Fail."""
    message = f"no {x}"
    raise ValueError(message)


@ct.electron
def wait_for(path: str) -> str:
    """Wait until a file appears."""
    Path(f"{path}.begun").touch()
    while not Path(path).exists():
        time.sleep(0.01)
    return path


@ct.electron
@ct.lattice
def each_plus_one(xs: list[int]) -> Any:
    """Loop over values, which are real here."""
    print("there are", len(xs))
    return [add(x, 1) for x in xs]


@ct.lattice
def dynamic(n: int) -> Any:
    """Let the value of one electron say how many others there are."""
    return each_plus_one(numbers(n))


def children(client: Client, dispatch: str) -> dict[str, str]:
    """Return the ids of the dispatches below one, by name."""
    return {summary.name: summary.id for summary in client.dispatches(root=dispatch)}


def test_control_flow_on_values_is_allowed_inside_a_sublattice(live: Client) -> None:
    """The body of a sublattice sees the values of its arguments; its value is the node's."""
    result = ct.dispatch_sync(dynamic)(4)

    assert result.status == ct.status.COMPLETED
    assert result.result == [1, 2, 3, 4]
    node = result.get_node_result(2)
    assert (node["node_name"], node["status"]) == (":sublattice:each_plus_one", "COMPLETED")
    assert node["output"].get_deserialized() == [1, 2, 3, 4]
    assert node["stdout"] == "there are 4\n"


def test_sublattice_result_is_a_full_result(live: Client) -> None:
    """It has nodes, ids and inputs of its own, and names the outermost dispatch."""
    result = ct.dispatch_sync(dynamic)(2)
    inner = result.get_node_result(2)["sublattice_result"]

    assert isinstance(inner, ct.Result)
    assert inner.status == ct.status.COMPLETED
    assert inner.result == [1, 2]
    assert inner.inputs.get_deserialized() == {"args": ([0, 1],), "kwargs": {}}
    assert inner.root_dispatch_id == result.dispatch_id == result.root_dispatch_id
    assert inner.get_node_result(0)["output"].get_deserialized() == 1
    assert inner.lattice.__name__ == "each_plus_one"
    graph = result.lattice.transport_graph
    assert graph.get_node_value(2, "sub_dispatch_id") == inner.dispatch_id
    assert graph.get_node_value(1, "sub_dispatch_id") is None
    assert result.get_node_result(1)["sublattice_result"] is None
    assert [node["sublattice_result"] is not None for node in result.get_all_node_results()].count(True) == 1


def test_sublattice_results_can_be_left_out(live: Client) -> None:
    """With `sublattice_results=False` the nested result is None, and all else is there."""
    run = ct.dispatch(dynamic)(2)
    ct.get_result(run, wait=True)
    result = ct.get_result(run, sublattice_results=False)

    assert result.get_node_result(2)["sublattice_result"] is None
    assert result.result == [1, 2]


def test_a_sublattice_may_return_anything_that_a_lattice_may(live: Client) -> None:
    """One electron, a constant, nothing, nested containers of both: the node's value is the lattice's."""

    @ct.electron
    @ct.lattice
    def one(x: int) -> Any:
        return add(x, 1)

    @ct.electron
    @ct.lattice
    def constant() -> Any:
        return (1, {"a": {2}})

    @ct.electron
    @ct.lattice
    def empty() -> Any:
        pass

    @ct.electron
    @ct.lattice
    def passed_on(x: Any) -> Any:
        return x

    @ct.electron
    @ct.lattice
    def nested(x: int) -> Any:
        return {"sum": add(x, x), ("a", 1): [add(x, 2), (x, {add(x, 3)})]}

    @ct.lattice
    def flow() -> Any:
        return one(1), constant(), empty(), passed_on((1, 2)), nested(5)

    result = ct.dispatch_sync(flow)()

    assert result.error is None
    assert result.result == [
        2,
        [1, {"a": [2]}],
        None,
        [1, 2],
        {"sum": 10, ("a", 1): [7, [5, [8]]]},
    ]


def test_a_value_made_of_several_is_put_together_on_a_worker(live: Client) -> None:
    """Then the output node of the sublattice's graph has run; where it is one value, nothing is copied."""
    composed = ct.dispatch_sync(dynamic)(2)
    inner = live.record(children(live, composed.dispatch_id)["each_plus_one"])

    assert inner.graph.nodes[inner.graph.output].function >= 0
    assert inner.summary.counts.completed == 3
    assert inner.nodes[inner.graph.output].attempt == 1

    @ct.electron
    def big(n: int) -> Any:
        return np.arange(n)

    @ct.lattice
    def outer(n: int) -> Any:
        return ct.electron(ct.lattice(big))(n)

    result = ct.dispatch_sync(outer)(50_000)
    record = live.record(children(live, result.dispatch_id)["big"], outputs="all")
    digests = {record.outputs[0].digest, live.node(result.dispatch_id, 0).value.digest}  # type: ignore[union-attr]
    assert record.graph.nodes[record.graph.output].function == -1
    assert len(digests) == 1
    assert None not in digests
    assert (result.result == np.arange(50_000)).all()


def test_what_follows_a_sublattice_gets_its_value(live: Client) -> None:
    """Items, operators and electrons after a sublattice, and sublattices after sublattices."""

    @ct.lattice
    def flow(n: int) -> Any:
        xs = each_plus_one(numbers(n))
        first, second = xs[0], xs[1]
        return [add(first, second) * 10, each_plus_one(xs)]

    assert ct.dispatch_sync(flow)(2).result == [30, [2, 3]]


def test_sublattices_nest_to_any_depth(live: Client) -> None:
    """A lattice that calls itself as a sublattice ends when it stops; all levels have one root."""

    @ct.electron
    @ct.lattice
    def factorial(n: int) -> Any:
        return 1 if n <= 1 else multiplied(n, factorial(n - 1))

    @ct.electron
    def multiplied(x: int, y: int) -> int:
        return x * y

    @ct.lattice
    def flow(n: int) -> Any:
        return factorial(n)

    result = ct.dispatch_sync(flow)(6)
    below = live.dispatches(root=result.dispatch_id)

    assert result.result == 720
    assert len(below) == 6
    assert {summary.root for summary in below} == {result.dispatch_id}
    ids = {summary.id for summary in below} | {result.dispatch_id}
    assert {summary.parent for summary in below} < ids
    level, depth = result, 0
    while nodes := [node["sublattice_result"] for node in level.get_all_node_results() if node["sublattice_result"]]:
        level, depth = nodes[0], depth + 1
        assert level.root_dispatch_id == result.dispatch_id
    assert (depth, level.result) == (6, 1)


def test_a_lattice_called_without_electron_joins_the_graph_of_its_caller(live: Client) -> None:
    """Without `ct.electron` there is no sublattice, also inside a sublattice."""

    @ct.lattice
    def inlined(x: int) -> Any:
        return add(x, 1)

    @ct.electron
    @ct.lattice
    def sub(x: int) -> Any:
        return inlined(x)

    @ct.lattice
    def flow() -> Any:
        return add(inlined(1), sub(1))

    result = ct.dispatch_sync(flow)()
    assert result.result == 4
    assert [summary.name for summary in live.dispatches(root=result.dispatch_id)] == ["sub"]


def test_an_electron_over_a_lattice_is_a_function_outside_a_lattice() -> None:
    """Called plainly, also in the body of another electron on a worker, it just runs."""

    @ct.electron
    def calls_it(x: int) -> Any:
        return each_plus_one([x])

    assert each_plus_one([1, 2]) == [2, 3]
    assert each_plus_one.__name__ == "each_plus_one"
    assert ct.dispatch_sync(ct.lattice(calls_it))(1).result == [2]


def test_a_body_that_raises_is_a_failed_node_with_its_traceback(live: Client) -> None:
    """The node fails as an electron would, shows the line of the body, and there is no dispatch below."""

    @ct.electron
    @ct.lattice
    def broken(xs: list[int]) -> Any:
        print("about to fail")
        return xs[10]

    @ct.lattice
    def flow() -> Any:
        return add(broken([1]), 1)

    result = ct.dispatch_sync(flow)()
    node = result.get_node_result(0)

    assert result.status == ct.status.FAILED
    assert result.error == "The following tasks failed:\n0: :sublattice:broken: IndexError: list index out of range"
    assert (node["status"], node["sublattice_result"]) == ("FAILED", None)
    assert node["stdout"] == "about to fail\n"
    assert "return xs[10]" in node["stderr"]
    assert "covalab" not in node["stderr"]
    assert live.dispatches(root=result.dispatch_id) == []
    assert result.get_node_result(5)["status"] == ct.status.NEW_OBJECT


def test_wrong_arguments_of_a_sublattice_are_found_when_the_graph_is_built() -> None:
    """Before anything is sent, as for electrons."""

    @ct.lattice
    def flow() -> Any:
        return each_plus_one([1], 2)

    with pytest.raises(GraphError, match="each_plus_one"):
        flow.build_graph()


def test_a_failure_below_fails_the_node_and_says_where(live: Client) -> None:
    """The node names the dispatch below and the task that failed in it, with its traceback; others complete."""

    @ct.electron
    @ct.lattice
    def inner(x: int) -> Any:
        return [add(x, 1), explode(x)]

    @ct.electron
    @ct.lattice
    def middle(x: int) -> Any:
        return inner(x)

    @ct.lattice
    def flow() -> Any:
        return [middle(7), add(1, 1)]

    result = ct.dispatch_sync(flow)()
    below = children(live, result.dispatch_id)
    node = result.get_node_result(0)

    assert result.status == ct.status.FAILED
    assert node["status"] == ct.status.FAILED
    assert below["middle"] in node["error"]
    assert below["inner"] in node["error"]
    assert "ValueError: no 7" in node["error"]
    assert "raise ValueError(message)" in node["error"]
    assert node["sublattice_result"].status == ct.status.FAILED
    innermost = node["sublattice_result"].get_node_result(0)["sublattice_result"]
    assert (innermost.dispatch_id, innermost.get_node_result(0)["status"]) == (below["inner"], "COMPLETED")
    assert live.node(result.dispatch_id, 0).failure.type == "sublattice"  # type: ignore[union-attr]


def test_retries_run_the_whole_sublattice_again(live: Client, tmp_path: Path) -> None:
    """What failed stays as a dispatch of its own; the last one counts."""

    @ct.electron
    def third_time(witness: str) -> int:
        with Path(witness).open("a") as file:
            file.write("run\n")
        n = len(Path(witness).read_text().split())
        if n < 3:
            message = f"run {n}"
            raise ValueError(message)
        return n

    @ct.lattice
    def sub(witness: str) -> Any:
        return third_time(witness)

    @ct.lattice
    def flow(witness: str) -> Any:
        return ct.electron(sub, retries=2)(witness)

    result = ct.dispatch_sync(flow)(str(tmp_path / "witness"))
    below = live.dispatches(root=result.dispatch_id)

    assert result.result == 3
    assert [summary.status for summary in below] == ["completed", "failed", "failed"]
    assert result.get_node_result(0)["sublattice_result"].dispatch_id == below[0].id
    assert live.node(result.dispatch_id, 0).attempt == 3


def test_a_time_limit_for_a_whole_sublattice_is_refused() -> None:
    """It would mean something else than it says; the error names the way out."""
    with pytest.raises(GraphError, match="its electrons"):
        ct.electron(ct.lattice(add), time_limit=3)


def test_dispatching_is_the_status_while_the_dispatch_below_runs(live: Client, tmp_path: Path) -> None:
    """As in Covalent; the dispatch below can be read meanwhile."""

    @ct.electron
    @ct.lattice
    def slow(path: str) -> Any:
        return wait_for(path)

    @ct.lattice
    def flow(path: str) -> Any:
        return slow(path)

    path = tmp_path / "go"
    run = ct.dispatch(flow)(str(path))
    until((tmp_path / "go.begun").exists)
    result = ct.get_result(run)
    node = result.get_node_result(0)
    changes = live.changes(run)
    path.touch()

    assert result.status == ct.status.RUNNING
    assert node["status"] == ct.status.DISPATCHING == "DISPATCHING"
    assert node["sublattice_result"].status == ct.status.RUNNING
    assert changes.children == {0: node["sublattice_result"].dispatch_id}
    assert live.node(run, 0).child == changes.children[0]
    assert ct.get_result(run, wait=True).result == str(path)
    assert live.changes(run).children == changes.children


@pytest.mark.parametrize("what", ["the whole", "the node", "the dispatch below"])
def test_cancelling_is_recursive(what: str, live: Client, tmp_path: Path) -> None:
    """Whichever is cancelled of a dispatch, its sublattice's node and the dispatch below: all end cancelled."""

    @ct.electron
    @ct.lattice
    def innermost(path: str) -> Any:
        return wait_for(path)

    @ct.electron
    @ct.lattice
    def inner(path: str) -> Any:
        return innermost(path)

    @ct.lattice
    def flow(path: str) -> Any:
        return add(inner(path), "x")

    path = tmp_path / "go"
    run = ct.dispatch(flow)(str(path))
    until((tmp_path / "go.begun").exists)
    below = children(live, run)
    if what == "the whole":
        ct.cancel(run)
    elif what == "the node":
        ct.cancel(run, task_ids=[0])
    else:
        ct.cancel(below["innermost"])
    result = ct.get_result(run, wait=True, timeout=120)
    for dispatch in below.values():
        assert ct.get_result(dispatch, wait=True, timeout=120).status == ct.status.CANCELLED

    assert live.graph(run).nodes[0].kind is NodeKind.SUBLATTICE
    assert (result.status, result.error) == (ct.status.CANCELLED, None)
    assert result.get_node_result(0)["status"] == ct.status.CANCELLED
    assert result.get_node_result(4)["status"] == ct.status.NEW_OBJECT


def test_lists_show_the_outermost_dispatches(live: Client) -> None:
    """Those below are listed when they are asked for; a dispatch without any has an empty list."""
    result = ct.dispatch_sync(dynamic)(1)
    listed = {summary.id for summary in live.dispatches(count=1000)}
    below = live.dispatches(root=result.dispatch_id)

    assert result.dispatch_id in listed
    assert [summary.name for summary in below] == ["each_plus_one"]
    assert below[0].id not in listed
    assert (below[0].parent, below[0].parent_node) == (result.dispatch_id, 2)
    assert live.dispatches(root=below[0].id) == []


def test_deleting_takes_what_is_below_along(live: Client) -> None:
    """A dispatch below cannot be deleted alone; the outermost goes with all of them."""
    result = ct.dispatch_sync(dynamic)(1)
    below = children(live, result.dispatch_id)["each_plus_one"]
    with pytest.raises(DispatcherError, match=result.dispatch_id):
        live.delete(below)
    live.delete(result.dispatch_id)

    for dispatch in (result.dispatch_id, below):
        with pytest.raises(ct.MissingLatticeRecordError):
            live.summary(dispatch)


def test_unset_metadata_is_filled_from_the_parent(live: Client) -> None:
    """Executors that a sublattice does not name are its parent's; those that it names are its own."""

    @ct.lattice
    def sub(x: int) -> Any:
        return [add(x, 1) + 1]

    @ct.lattice(executor="local", workflow_executor="dask")
    def flow() -> Any:
        named = ct.lattice(sub.function, executor="dask")
        return ct.electron(sub)(1), ct.electron(named)(1)

    result = ct.dispatch_sync(flow)()
    seen = []
    for node in result.get_all_node_results():
        if node["sublattice_result"] is not None:
            record = live.record(node["sublattice_result"].dispatch_id)
            seen.append([record.graph.settings[it.settings].executor for it in record.graph.nodes if it.settings >= 0])

    assert result.result == [[3], [3]]
    assert seen == [["local", "dask", "dask"], ["dask", "dask", "dask"]]
    assert sub.executor is None


def test_large_arguments_and_graphs_reach_the_dispatcher(live: Client) -> None:
    """A sublattice of a thousand nodes, and values too long for a message, travel as files."""

    @ct.electron
    @ct.lattice
    def wide(x: Any, n: int) -> Any:
        return [add(x, i) for i in range(n)], x

    @ct.lattice
    def flow(x: Any, n: int) -> Any:
        return wide(x, n)

    result = ct.dispatch_sync(flow)(np.ones(20_000), 300)

    assert result.error is None
    assert len(result.result[0]) == 300
    assert result.result[0][7][0] == 8
    assert (result.result[1] == 1).all()


@ct.electron
@ct.lattice
def after_a_file(path: str) -> Any:
    """Go on building when a file appears."""
    Path(f"{path}.begun").touch()
    while not Path(path).exists():
        time.sleep(0.01)
    return add(1, 1)


def test_a_child_of_a_paused_dispatch_waits_and_then_runs(own: Client, tmp_path: Path) -> None:
    """It is made while its parent is paused: it starts when that goes on, and not before."""
    go = tmp_path / "go"
    dispatch = ct.dispatch(ct.lattice(after_a_file))(str(go))
    until(lambda: Path(f"{go}.begun").exists())
    ct.pause(dispatch)
    go.touch()
    until(lambda: own.changes(dispatch).children)
    child = next(iter(own.changes(dispatch).children.values()))
    until(lambda: own.summary(child).paused)
    assert own.summary(child).counts.pending == 1

    ct.resume(dispatch)
    assert ct.get_result(dispatch, wait=True, timeout=120).result == 2
