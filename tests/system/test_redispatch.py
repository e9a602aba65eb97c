"""A workflow once more: as it was, changed, resumed, from another session."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from tests.system.tasks import adding, runs, sleeping, total, witnessed

import covalab as ct
from covalab.client import Client, connect
from covalab.core.errors import DispatcherError, GraphError, MissingLatticeRecordError
from covalab.core.model import DispatchId
from covalab.sdk.building.submit import prepare
from covalab.sdk.dispatching import api
from covalab.sdk.results.result import Result

pytestmark = [pytest.mark.usefixtures("live"), pytest.mark.sampled(12, of="file")]


@ct.electron
def scaled(values: list[int], by: int = 2) -> list[int]:
    """Multiply, and say so."""
    print("scaling by", by)
    return [value * by for value in values]


@ct.electron
def tenfold(values: list[int], by: int = 2) -> list[int]:
    """Stand for `scaled`."""
    return [value * by * 10 for value in values]


@ct.lattice
def workflow(witness: str, n: int = 3, by: int = 2) -> Any:
    """A few tasks that leave a trace, and two after them."""
    return total(scaled([witnessed(x, witness) for x in range(n)], by=by))


@ct.lattice
def arrays(x: Any, shift: int) -> Any:
    """Take something large."""
    return adding(adding(x, 1), shift)


def ended(dispatch: str) -> Result:
    """Wait for a dispatch."""
    return ct.get_result(dispatch, wait=True, timeout=120)


def reused(result: Result) -> list[str]:
    """Return the names of the nodes that did not run, by Covalent's mark."""
    nodes = [node for node in result.get_all_node_results() if not node["node_name"].startswith(":")]
    return [node["node_name"] for node in nodes if node["start_time"] == node["end_time"]]


@pytest.fixture
def witness(tmp_path: Path) -> Path:
    """Return where tasks say that they ran."""
    return tmp_path / "witness"


def test_the_stored_graph_runs_again_under_a_new_id(witness: Path) -> None:
    """The original stays as it was; everything runs again by default."""
    first = ended(ct.dispatch(workflow)(str(witness)))
    before = str(first)
    again = ct.redispatch(first.dispatch_id)()
    second = ended(again)

    assert again != first.dispatch_id
    assert second.result == first.result == 10
    assert second.inputs.get_deserialized() == {"args": (str(witness),), "kwargs": {}}
    assert set(runs(witness).values()) == {2}
    assert str(ct.get_result(first.dispatch_id)) == before
    assert reused(second) == []


def test_original_keyword_arguments_are_not_forgotten(witness: Path) -> None:
    """Neither without new arguments nor with a replacement (a defect of Covalent)."""
    run = ct.dispatch(workflow)(str(witness), n=2, by=5)

    assert ended(ct.redispatch(run)()).result == 5
    replaced = ended(ct.redispatch(run, replace_electrons={"scaled": tenfold})())
    assert replaced.result == 50
    assert replaced.inputs.get_deserialized()["kwargs"] == {"n": 2, "by": 5}


def test_new_arguments_take_the_place_of_all_old_ones(witness: Path) -> None:
    """As in Covalent: what is not given has its default."""
    run = ct.dispatch(workflow)(str(witness), n=2, by=5)

    assert ended(ct.redispatch(run)(str(witness), by=3)).result == 15


def test_a_replacement_brings_its_name_and_settings(witness: Path) -> None:
    """Every call of the name is replaced; the node has the replacement's name, retries and limit."""
    run = ct.dispatch(workflow)(str(witness))
    other = ct.electron(tenfold, retries=2, time_limit=50)
    result = ended(ct.redispatch(run, replace_electrons={"scaled": other})())
    names = [node.name for node in result.lattice.transport_graph.graph.nodes]
    detail = connect().node(result.dispatch_id, names.index("tenfold"))

    assert result.result == 100
    assert "scaled" not in names
    assert (detail.retries, detail.time_limit) == (2, 50)


def test_a_replacement_stays_in_later_redispatches(witness: Path) -> None:
    """By either name it can be replaced again."""
    run = ct.dispatch(workflow)(str(witness))
    second = ct.redispatch(run, replace_electrons={"scaled": tenfold})()

    assert ended(ct.redispatch(second)(str(witness), n=2)).result == 20
    for name in ("scaled", "tenfold"):
        assert ended(ct.redispatch(second, replace_electrons={name: scaled})()).result == 10


def test_an_unknown_replacement_is_an_error_that_lists_the_names() -> None:
    """Covalent ignores it in silence. Nothing is dispatched."""
    run = ct.dispatch(ct.lattice(adding))(1)
    n = len(connect().dispatches(count=1000))

    with pytest.raises(GraphError, match=r"calls no electron named nothing; it calls adding"):
        ct.redispatch(run, replace_electrons={"nothing": tenfold})()
    with pytest.raises(TypeError, match="by an electron or a function, not by 'adding'"):
        ct.redispatch(run, replace_electrons={"adding": "adding"})  # type: ignore[dict-item]
    with pytest.raises(GraphError, match="True, False or 'strict'"):
        ct.redispatch(run, reuse_previous_results="sometimes")  # type: ignore[arg-type]
    assert len(connect().dispatches(count=1000)) == n


def test_an_unknown_id_is_missing() -> None:
    """In every form of the call."""
    calls: tuple[Callable[[], object], ...] = (
        ct.redispatch("nowhere"),
        ct.redispatch("nowhere", reuse_previous_results=True),
        ct.redispatch("nowhere", replace_electrons={"scaled": tenfold}),
        lambda: api.start("nowhere"),
    )
    for call in calls:
        with pytest.raises(MissingLatticeRecordError, match="nowhere"):
            call()


def test_if_everything_is_the_same_nothing_runs(witness: Path) -> None:
    """The nodes are complete at once, with the old outputs and prints; start and end are one moment."""
    run = ct.dispatch(workflow)(str(witness))
    ended(run)
    for again in (
        ct.redispatch(run, reuse_previous_results=True)(),
        ct.redispatch(run, reuse_previous_results=True)(str(witness)),
        ct.redispatch(run, reuse_previous_results="strict")(),
    ):
        result = ended(again)
        node = next(node for node in result.get_all_node_results() if node["node_name"] == "scaled")

        assert result.status == ct.status.COMPLETED
        assert result.result == 10
        assert reused(result) == ["witnessed", "witnessed", "witnessed", "scaled", "total"]
        assert node["stdout"] == "scaling by 2\n"
        assert node["output"].get_deserialized() == [0, 2, 8]
        assert {state.attempt for state in connect().changes(again).nodes} == {0}
    assert set(runs(witness).values()) == {1}


def test_only_what_changed_and_what_comes_after_it_runs(witness: Path) -> None:
    """A new argument, then a replacement: what comes before is reused."""
    run = ct.dispatch(workflow)(str(witness))
    changed = ended(ct.redispatch(run, reuse_previous_results=True)(str(witness), by=7))
    replaced = ended(ct.redispatch(run, replace_electrons={"scaled": tenfold}, reuse_previous_results=True)())

    assert (changed.result, replaced.result) == (35, 100)
    assert reused(changed) == reused(replaced) == ["witnessed", "witnessed", "witnessed"]
    assert set(runs(witness).values()) == {1}


def test_the_same_hooks_are_the_same(witness: Path) -> None:
    """Although they are pickled anew with the lattice; another argument of a hook makes the node run."""

    def before(path: str, what: str) -> str:
        with Path(path).open("a") as file:
            file.write(f"{what}\n")
        return what

    @ct.electron(call_before=[ct.DepsCall(before, args=[str(witness), "hook"], retval_keyword="word")])
    def hooked(x: int, word: str = "") -> str:
        return word * x

    run = ct.dispatch(ct.lattice(hooked))(2)
    assert ended(run).result == "hookhook"
    again = ended(ct.redispatch(run, reuse_previous_results=True)(2))

    assert (again.result, reused(again)) == ("hookhook", ["hooked"])
    assert ended(ct.redispatch(run, reuse_previous_results=True)(1)).result == "hook"
    assert runs(witness) == {"hook": 2}


def test_a_replacement_runs_even_if_it_is_the_same(witness: Path) -> None:
    """It was asked for."""
    run = ct.dispatch(workflow)(str(witness))
    result = ended(ct.redispatch(run, replace_electrons={"scaled": scaled}, reuse_previous_results=True)())

    assert reused(result) == ["witnessed", "witnessed", "witnessed"]


def test_chosen_nodes_and_what_follows_from_them_run_again(witness: Path) -> None:
    """By number or name; all else is reused, also with the workflow built anew, and what names no node is refused."""
    run = ct.dispatch(workflow)(str(witness))
    names = {node.name: number for number, node in enumerate(connect().graph(run).nodes)}
    ended(run)
    by_name = ended(ct.redispatch(run, from_nodes="scaled")())
    by_number = ended(ct.redispatch(run, from_nodes=[names["scaled"]])())
    sibling = ended(ct.redispatch(run, from_nodes="witnessed(x=1)")())
    built = ended(ct.redispatch(run, replace_electrons={"scaled": scaled}, from_nodes="witnessed(x=0)")())

    assert reused(by_name) == reused(by_number) == ["witnessed", "witnessed", "witnessed"]
    assert reused(sibling) == reused(built) == ["witnessed", "witnessed"]
    assert [one.status for one in (by_name, by_number, sibling, built)] == [ct.status.COMPLETED] * 4
    for wrong in ("nothing", 999):
        with pytest.raises(GraphError, match=str(wrong)):
            ct.redispatch(run, from_nodes=[wrong])()


def test_a_failed_workflow_resumes_from_its_failure(witness: Path, tmp_path: Path) -> None:
    """What completed before is not repeated."""

    @ct.electron
    def fragile(values: list[int], file: str) -> int:
        return sum(values) + len(Path(file).read_text())

    @ct.lattice
    def flow(witness: str, file: str) -> Any:
        return adding(fragile([witnessed(x, witness) for x in range(3)], file))

    missing = tmp_path / "missing"
    first = ended(ct.dispatch(flow)(str(witness), str(missing)))
    assert first.status == ct.status.FAILED
    missing.write_text("four")
    second = ended(ct.redispatch(first.dispatch_id, reuse_previous_results=True)())

    assert (second.status, second.result) == (ct.status.COMPLETED, 10)
    assert set(runs(witness).values()) == {1}
    assert ct.get_result(first.dispatch_id).status == ct.status.FAILED


def test_an_early_call_that_is_new_invalidates_what_follows(witness: Path) -> None:
    """Nodes are matched by number, as in Covalent."""

    @ct.lattice
    def growing(witness: str, early: bool) -> Any:
        first = [adding(1)] if early else []
        return [*first, witnessed(2, witness)]

    run = ct.dispatch(growing)(str(witness), early=False)
    ended(ct.redispatch(run, reuse_previous_results=True)(str(witness), early=True))

    assert runs(witness) == {"2": 2}


def test_large_outputs_are_shared_and_outlive_the_original(live: Client) -> None:
    """A reused array is the same blob; deleting the original leaves it."""
    run = ct.dispatch(arrays)(np.arange(50_000), 1)
    ended(run)
    again = ct.redispatch(run, reuse_previous_results=True)(np.arange(50_000), 2)
    result = ended(again)
    assert reused(result) == ["adding"]
    ended(run)
    live.delete(run)

    node = ct.get_result(again).get_node_result(0)
    assert int(node["output"].get_deserialized().sum()) == int((np.arange(50_000) + 1).sum())
    assert int(result.result[0]) == 3


def test_it_waits_for_the_original_to_end_and_says_so(tmp_path: Path) -> None:
    """With reuse; without, it does not wait."""

    @ct.electron
    def gated(folder: str) -> int:
        (Path(folder) / "began").touch()
        while not (Path(folder) / "go").exists():
            time.sleep(0.01)
        return 1

    run = ct.dispatch(ct.lattice(gated))(str(tmp_path))
    free = ct.redispatch(run)()
    threading.Timer(4.5, (tmp_path / "go").touch).start()

    with pytest.warns(UserWarning, match=rf"{run} .* is still running; its redispatch waits"):
        again = ct.redispatch(run, reuse_previous_results=True)()
    assert ct.get_result(run, status_only=True)["status"] == "COMPLETED"
    assert reused(ended(again)) == ["gated"]
    assert ended(free).result == 1


def test_a_lattice_of_a_result_runs_again(witness: Path) -> None:
    """`Result.lattice` is the lattice: it can be read, called and dispatched."""
    result = ended(ct.dispatch(workflow)(str(witness), n=1))
    found = result.lattice

    assert isinstance(found, ct.Lattice)
    assert "def workflow" in found.workflow_function_string
    assert found.inputs == result.inputs
    assert found.transport_graph.get_node_value(0, "name") == "witnessed"
    assert found(str(witness), n=2, by=1) == 1
    assert ended(ct.dispatch(found)(str(witness), n=2)).result == 2


FIRST = '''
import sys
import covalab as ct

WAYS = {"spam", "eggs", "ham"}
def helper(x, table={"a": 1, "b": [2, 3]}):
    """Use globals, defaults and a set."""
    return x * table["b"][0] if "eggs" in WAYS else 0
class Model:
    """Be pickled by value."""
    def __init__(self, k):
        self.k = k
    def predict(self, x):
        return [helper(v) + self.k for v in x]
@ct.electron
def load(n, witness):
    open(witness, "a").write("load\\n")
    return list(range(n))
@ct.electron
def fit(xs, witness, model=Model(1)):
    open(witness, "a").write("fit\\n")
    return model.predict(xs)
@ct.electron
def score(ys, witness, k=1):
    open(witness, "a").write("score\\n")
    return sum(ys) * k
@ct.lattice
def flow(n, witness, k=1):
    return score(fit(load(n, witness), witness), witness, k=k)
run = ct.dispatch(flow)(4, sys.argv[1], k=2)
assert ct.get_result(run, wait=True).result == 32
print(run)
'''

SECOND = """
import sys
import covalab as ct

run, witness = sys.argv[1:]
again = ct.redispatch(run, reuse_previous_results=True)(4, witness, k=3)
assert ct.get_result(again, wait=True).result == 48
@ct.electron
def fit2(xs, witness):
    return [1]
again = ct.redispatch(run, replace_electrons={"fit": fit2}, reuse_previous_results=True)()
assert ct.get_result(again, wait=True).result == 2
assert "def flow" in ct.get_result(again).lattice.workflow_function_string
graph = ct.get_result(again).lattice.transport_graph.graph
assert "def load" in {function.name: function.source for function in graph.functions}["load"]
"""


def test_the_same_cells_are_the_same_in_another_session(tmp_path: Path) -> None:
    """Two interpreters, other hash seeds, the first one's source gone: the id is enough, and code is recognised."""

    def run(source: str, seed: str, *arguments: str) -> str:
        script = tmp_path / "session.py"
        script.write_text(source)
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, str(script), *arguments]
        done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    witness = tmp_path / "witness"
    first = run(FIRST, "1", str(witness))
    run("\n\n" + SECOND, "2", first, str(witness))

    assert runs(witness) == {"load": 1, "fit": 1, "score": 3}


def test_a_dispatch_can_be_recorded_and_not_started(live: Client) -> None:
    """`disable_run`: its status is NEW_OBJECT, it is listed as held, and `start` starts it, once."""
    run = ct.dispatch(ct.lattice(adding), disable_run=True)(1)
    result = ct.get_result(run)

    assert result.status == ct.status.NEW_OBJECT
    assert result.result is None
    assert live.summary(run).held
    assert str(run) in {str(summary.id) for summary in live.dispatches() if summary.held}
    assert ct.cancel(run) == f"Dispatch {run} cancelled."
    assert ct.get_result(run, status_only=True)["status"] == "NEW_OBJECT"
    assert api.start(run) == run == api.start(run)
    assert ended(run).result == 2
    assert not live.summary(run).held


def test_waiting_for_what_nobody_has_started_says_so() -> None:
    """With a timeout it comes back; without, it warns, and ends when somebody starts it."""
    run = ct.dispatch(ct.lattice(adding), disable_run=True)(1)

    assert ct.get_result(run, wait=True, timeout=0.2).status == ct.status.NEW_OBJECT
    threading.Timer(1, api.start, (run,)).start()
    with pytest.warns(UserWarning, match="was recorded and not started"):
        assert ct.get_result(run, wait=True).result == 2


def test_a_dispatch_that_never_ran_can_be_redispatched() -> None:
    """Covalent hangs; nothing of it can be reused, so everything runs."""
    run = ct.dispatch(ct.lattice(adding), disable_run=True)(1)

    assert ended(ct.redispatch(run)()).result == 2
    assert ended(ct.redispatch(run, reuse_previous_results=True)()).result == 2
    assert ended(ct.redispatch(run, reuse_previous_results=True)(5)).result == 6
    assert ct.get_result(run).status == ct.status.NEW_OBJECT


def test_a_held_dispatch_survives_a_restart_unstarted(own: Client) -> None:
    """It is still there, still not started, and can be deleted."""
    run = ct.dispatch(ct.lattice(adding), disable_run=True)(1)
    other = ct.dispatch(ct.lattice(adding), disable_run=True)(2)
    own.stop()

    assert own.summary(run).held
    assert own.changes(run, since=own.summary(run).version, wait=0.3).nodes == []
    own.delete(other)
    with pytest.raises(MissingLatticeRecordError):
        own.summary(other)
    api.start(run)
    assert ended(run).result == 2


def test_a_reusing_dispatch_survives_a_restart(own: Client, tmp_path: Path) -> None:
    """What was taken over is on the disk with the rest."""

    @ct.lattice
    def flow(x: int, seconds: float, pid: str) -> Any:
        return [adding(x), sleeping(seconds, pid)]

    run = ct.dispatch(flow)(1, 0, str(tmp_path / "first"))
    ended(run)
    again = ct.redispatch(run, reuse_previous_results=True)(1, 1.5, str(tmp_path / "second"))
    own.stop()
    result = ended(again)

    assert result.result == [2, "slept"]
    assert reused(result) == ["adding"]


def test_a_repeated_request_changes_nothing(live: Client) -> None:
    """The id of a redispatch is the client's, so one that was sent twice is one."""
    run = ct.dispatch(ct.lattice(adding))(1)
    ended(run)
    new = DispatchId(str(uuid.uuid4()))

    assert {live.redispatch(run, new, reuse=True).id for _ in range(3)} == {new}
    assert ended(new).result == 2


def test_reusing_what_there_is_not_records_nothing(live: Client) -> None:
    """The whole submission is refused."""
    submission = prepare(ct.lattice(adding), (1,), {}, live.blobs)
    with pytest.raises(MissingLatticeRecordError, match="gone"):
        live.submit(replace(submission, reuse=DispatchId("gone")))
    with pytest.raises(MissingLatticeRecordError):
        live.summary(submission.id)
    with pytest.raises(DispatcherError, match="still running"):
        live.delete(ct.dispatch(ct.lattice(sleeping))(1, os.devnull))
