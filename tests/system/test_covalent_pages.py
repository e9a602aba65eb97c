"""Covalent's pages "Results", "Dispatch infrastructure" and "Covalent services", row by row: what they document is so.

One test for each row of a page; the signatures of all of them by `inspect`. Deeper tests are in the files of each area.
"""

from __future__ import annotations

import datetime as dt
import inspect
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.waiting import until

import covalab as ct
from covalab.client import Client
from covalab.core.errors import GraphError
from covalab.sdk.results.result import Result
from covalab.sdk.results.result_manager import ResultManager
from covalab.triggers import BaseTrigger, DirTrigger, TimeTrigger

pytestmark = pytest.mark.usefixtures("live")


@ct.electron
def add(x: int, y: int) -> int:
    """Add."""
    return x + y


@ct.electron
def square(x: int) -> int:
    """Square."""
    return x * x


@ct.lattice
def workflow(x: int, y: int = 1) -> Any:
    """Add, then square."""
    return square(add(x, y))


@pytest.fixture(scope="module")
def completed(data_dir: Path) -> Result:
    """Return a result that has everything."""
    return ct.dispatch_sync(workflow)(2, y=3)


TRIGGER = "lattice_dispatch_id=None, dispatcher_addr=None, triggers_server_addr=None"
SIGNATURES: list[tuple[Callable[..., object], str]] = [
    (ct.get_result, "dispatch_id, wait=False, dispatcher_addr=None, status_only=False"),
    (ct.dispatch, "orig_lattice, dispatcher_addr=None, disable_run=False"),
    (ct.dispatch_sync, "lattice, dispatcher_addr=None"),
    (
        ct.redispatch,
        "dispatch_id, dispatcher_addr=None, replace_electrons=None, reuse_previous_results=False, is_pending=False",
    ),
    (ct.stop_triggers, "dispatch_ids, triggers_server_addr=None"),
    (ct.cancel, "dispatch_id, task_ids=None, dispatcher_addr=None"),
    (BaseTrigger, TRIGGER),
    (DirTrigger, f"dir_path, event_names, batch_size=1, {TRIGGER}, recursive=False"),
    (TimeTrigger, f"time_gap, {TRIGGER}"),
    (Result.get_node_result, "self, node_id"),
    (Result.get_all_node_results, "self"),
    (Result.get_all_node_outputs, "self"),
    (Result.post_process, "self"),
    (Result.save_result, "self, results_dir=None"),
    (BaseTrigger.register, "self"),
    (BaseTrigger.to_dict, "self"),
    (BaseTrigger.trigger, "self"),
    (DirTrigger.observe, "self"),
    (DirTrigger.stop, "self"),
    (DirTrigger.attach_methods_to_handler, "self"),
    (TimeTrigger.observe, "self"),
    (TimeTrigger.stop, "self"),
]


@pytest.mark.parametrize(("documented", "parameters"), SIGNATURES)
def test_a_signature_is_the_documented_one(documented: Callable[..., object], parameters: str) -> None:
    """By position: the same names in the same order with the same defaults. What is more comes by keyword."""
    space: dict[str, Any] = {}
    exec(f"def it({parameters}): ...", space)
    found = [it for it in inspect.signature(documented).parameters.values() if it.kind is not it.KEYWORD_ONLY]

    assert [it.replace(annotation=it.empty) for it in found] == [*inspect.signature(space["it"]).parameters.values()]


@pytest.mark.parametrize(
    "arguments",
    [
        (["created"], 2, "an id", "a", "b", True),  # as the page has it
        (["created"], 2, True, "an id", "a", "b"),  # as Covalent's code has it
    ],
)
def test_a_dir_trigger_takes_both_orders(arguments: tuple[Any, ...]) -> None:
    """A bool in fourth place is `recursive`, so an id is never taken for one, nor the reverse."""
    trigger = DirTrigger("/data", *arguments)

    assert (trigger.batch_size, trigger.recursive, trigger.lattice_dispatch_id) == (2, True, "an id")
    assert DirTrigger("/data", "created", 1, False).lattice_dispatch_id is None


@pytest.mark.parametrize(
    "record", [lambda: ct.dispatch(workflow, None, True), lambda: ct.dispatch(workflow, disable_run=True)]
)
@pytest.mark.parametrize(
    "start",
    [
        ct.start,
        lambda run: ct.redispatch(run, is_pending=True)(),
        lambda run: ct.redispatch(run, None, None, False, True)(),
        lambda run: ct.redispatch(run, reuse_previous_results=True, is_pending=True)(),
    ],
)
def test_what_was_saved_for_later_is_started_under_its_id(record: Any, start: Any) -> None:
    """`disable_run`, also as third argument; `start` and `is_pending` run the dispatch itself, once."""
    run = record()(2, y=3)
    assert ct.get_result(run).status == ct.status.NEW_OBJECT

    assert start(run) == run
    ended = ct.get_result(run, wait=True, timeout=60)
    assert ended.result == 25
    assert start(run) == run
    assert ct.get_result(run, wait=True, timeout=60).end_time == ended.end_time


def test_what_is_started_as_it_was_recorded_takes_nothing_new() -> None:
    """Arguments and replacements are refused, and it stays recorded."""
    run = ct.dispatch(workflow, disable_run=True)(2)

    with pytest.raises(GraphError, match=rf"starts dispatch {run} as it was recorded, so it takes no arguments"):
        ct.redispatch(run, is_pending=True)(3)
    with pytest.raises(GraphError, match="takes no replace_electrons"):
        ct.redispatch(run, replace_electrons={"add": square}, is_pending=True)()
    assert ct.get_result(run).status == ct.status.NEW_OBJECT


def plus_ten(x: int, y: int) -> int:
    """Stand for `add`, without being an electron."""
    return x + y + 10


@pytest.mark.parametrize("replacement", [plus_ten, lambda x, y: x + y + 10, ct.electron(plus_ten)])
def test_any_callable_replaces_an_electron(completed: Result, replacement: Any) -> None:
    """`replace_electrons` is documented as names and callables; what did not change is reused."""
    again = ct.redispatch(completed.dispatch_id, replace_electrons={"add": replacement}, reuse_previous_results=True)()

    assert ct.get_result(again, wait=True, timeout=60).result == 225


def test_a_result_has_the_documented_statuses() -> None:
    """`Result.CANCELED` is the spelling of the page on dispatching, `Result.CANCELLED` that of the page on results."""
    statuses = {"NEW_OBJ": "NEW_OBJECT", "CANCELED": "CANCELLED"}

    for name in ("NEW_OBJ", "COMPLETED", "RUNNING", "FAILED", "CANCELLED", "CANCELED"):
        assert getattr(Result, name) == statuses.get(name, name)
    assert Result.CANCELED is Result.CANCELLED


def test_inputs_are_a_dictionary_and_covalents_object(completed: Result) -> None:
    """Both ways of reading give the same, each time a copy; also after a pickle, and of the recorded lattice."""
    inputs = completed.inputs
    plain = {"args": (2,), "kwargs": {"y": 3}}

    found: Any
    for found in (inputs, pickle.loads(pickle.dumps(inputs)), completed.lattice.inputs):
        assert issubclass(type(found), ct.TransportableObject)
        assert found.get_deserialized() == plain
        assert found == plain
        assert (found["args"], found["kwargs"], list(found), len(found)) == ((2,), {"y": 3}, ["args", "kwargs"], 2)
        assert dict(**found) == {**found} == dict(found.items()) == plain
        assert (found.get("args"), found.get("nothing", 7), "kwargs" in found) == ((2,), 7, True)
    inputs["kwargs"]["y"] = 4
    assert inputs == plain
    assert inputs == ct.get_result(completed.dispatch_id).inputs
    with pytest.raises(KeyError):
        inputs["nothing"]
    assert inputs.object_string
    assert ct.TransportableObject.deserialize(inputs.serialize()).get_deserialized() == plain


def test_a_result_saves_itself(completed: Result, tmp_path: Path) -> None:
    """To the folder that is passed, by default to `results_dir`: the files that `get_result(results_dir=)` writes."""
    completed.save_result(tmp_path / "passed")
    by_default = ct.get_result(completed.dispatch_id, results_dir=str(tmp_path / "own"))
    wanted = {path.relative_to(tmp_path / "own") for path in (tmp_path / "own").rglob("*")}
    (tmp_path / "own" / "manifest.json").unlink()
    by_default.save_result()

    assert {path.relative_to(tmp_path / "passed") for path in (tmp_path / "passed").rglob("*")} == wanted
    assert {path.relative_to(tmp_path / "own") for path in (tmp_path / "own").rglob("*")} == wanted
    json.loads((tmp_path / "passed" / "manifest.json").read_text())
    loaded = ResultManager.load(tmp_path / "passed" / "manifest.json", tmp_path / "passed")
    assert loaded.result_object.result == 25


def test_a_graph_is_given_as_text_and_as_a_picture(completed: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    """DOT, SVG, PDF; without Graphviz's program with the layout of a notebook."""
    monkeypatch.setenv("PATH", "")

    assert completed.graph() == completed.graph("dot")
    assert 'label="add\\n' in completed.graph("dot")
    assert "->" in completed.graph("dot")
    assert completed.graph("svg").startswith("<svg")
    assert "square" in completed.graph("svg")
    assert completed.graph("pdf").startswith(b"%PDF-")
    with pytest.raises(GraphError, match=rf"{completed.dispatch_id} is given as dot, svg or pdf, not 'png'"):
        completed.graph("png")  # type: ignore[call-overload]


@ct.electron
def wait_for(file: str, x: int = 0) -> int:
    """Run until there is a file."""
    while not Path(file).exists():
        time.sleep(0.01)
    return x


@ct.electron
def broken(x: int) -> int:
    """Print and fail."""
    print("about to fail")
    message = f"no {x}"
    raise ValueError(message)


@ct.lattice
def half_broken(x: int) -> Any:
    """Have one task that completes, one that fails and one that never runs."""
    return square(x), square(broken(x))


@pytest.fixture(scope="module")
def failed(data_dir: Path) -> Result:
    """Return a result of which a part failed."""
    return ct.dispatch_sync(half_broken)(3)


def test_get_result_takes_what_its_page_says(completed: Result) -> None:
    """By position and by name, at once and waiting, status only; this machine's address and no other; an unknown id."""
    run = completed.dispatch_id
    for found in (
        ct.get_result(run),
        ct.get_result(run, True),
        ct.get_result(run, False, None, False),
        ct.get_result(dispatch_id=run, wait=True, dispatcher_addr="http://localhost:48008", status_only=False),
    ):
        assert isinstance(found, Result)
        assert found.result == 25
    assert ct.get_result(run, False, None, True) == {"id": run, "status": "COMPLETED"}  # type: ignore[call-overload]
    assert ct.get_result(run, wait=True, status_only=True) == {"id": run, "status": "COMPLETED"}
    with pytest.raises(ValueError, match="COVALAB_DATA_DIR"):
        ct.get_result(run, dispatcher_addr="http://elsewhere:48008")
    for wait in (False, True):
        with pytest.raises(ct.MissingLatticeRecordError, match="no-such-id"):
            ct.get_result("no-such-id", wait)


def test_a_dispatch_has_the_documented_statuses(failed: Result, completed: Result, tmp_path: Path) -> None:
    """New, running, cancelled, failed, completed; `cancel` answers with a text, and what has ended stays as it is."""
    held = ct.dispatch(ct.lattice(wait_for), disable_run=True)(str(tmp_path / "go"))
    assert ct.get_result(held).status == Result.NEW_OBJ
    ct.start(held)
    until(lambda: ct.get_result(held).status == Result.RUNNING)
    answer = ct.cancel(held)
    assert isinstance(answer, str)
    assert ct.get_result(held, wait=True, timeout=60).status == Result.CANCELED
    assert (failed.status, completed.status) == (Result.FAILED, Result.COMPLETED)
    for ended in (held, failed.dispatch_id, completed.dispatch_id):
        before = ct.get_result(ended).status
        ct.cancel(ended)
        assert ct.get_result(ended).status == before


def test_single_tasks_are_cancelled_by_their_ids(tmp_path: Path) -> None:
    """The others complete."""

    @ct.lattice
    def both(file: str) -> Any:
        return wait_for(file + " never"), wait_for(file, 7)

    run = ct.dispatch(both)(str(tmp_path / "go"))
    assert isinstance(ct.cancel(run, [0]), str)
    until(lambda: ct.get_result(run).get_node_result(0)["status"] == ct.status.CANCELLED)
    (tmp_path / "go").touch()
    result = ct.get_result(run, wait=True, timeout=60)

    nodes = {node["node_name"]: node for node in result.get_all_node_results() if node["node_id"] != 0}
    assert nodes["wait_for"]["output"].get_deserialized() == 7


ATTRIBUTES: dict[str, Any] = {
    "dispatch_id": str,
    "root_dispatch_id": str,
    "status": object,
    "result": int,
    "error": type(None),
    "inputs": Mapping,
    "start_time": dt.datetime,
    "end_time": dt.datetime,
    "results_dir": str,
    "encoded_result": ct.TransportableObject,
    "lattice": ct.Lattice,
}


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_a_result_has_the_documented_attribute(name: str, completed: Result, failed: Result) -> None:
    """Of the documented type; a failed one has an error and no result."""
    assert isinstance(getattr(completed, name), ATTRIBUTES[name])
    value = getattr(failed, name)
    assert (value is None) is (name in ("result", "encoded_result"))
    if name == "root_dispatch_id":
        assert (completed.root_dispatch_id, failed.root_dispatch_id) == (completed.dispatch_id, failed.dispatch_id)


KEYS = ["node_id", "node_name", "start_time", "end_time", "status", "output", "error", "sublattice_result"]


def test_a_node_result_has_the_documented_keys(completed: Result, failed: Result) -> None:
    """Ten, in success, failure, of what never ran, and of a sublattice; all of them, and all outputs."""
    below = ct.dispatch_sync(ct.lattice(ct.electron(workflow)))(1)
    for result in (completed, failed, below):
        for node in result.get_all_node_results():
            assert list(node)[: len(KEYS)] == KEYS
            assert {"stdout", "stderr"} <= node.keys()
            assert node.keys() == result.get_node_result(node["node_id"]).keys()
    done = completed.get_node_result(0)
    assert (done["node_name"], done["status"], done["error"]) == ("add", ct.status.COMPLETED, None)
    assert done["output"].get_deserialized() == 5
    nodes = {node["node_name"] + str(node["status"]): node for node in failed.get_all_node_results()}
    went_wrong, never = nodes["brokenFAILED"], nodes["squareNEW_OBJECT"]
    assert (went_wrong["output"], went_wrong["stdout"]) == (None, "about to fail\n")
    assert "ValueError: no 3" in went_wrong["error"]
    assert (never["output"], never["start_time"], never["end_time"]) == (None, None, None)
    sublattice = below.get_node_result(0)
    assert isinstance(sublattice["sublattice_result"], Result)
    assert sublattice["sublattice_result"].root_dispatch_id == below.dispatch_id
    assert sublattice["sublattice_result"].result == below.result == 4
    outputs = completed.get_all_node_outputs()
    assert {"add(0)", "square(3)"} <= outputs.keys()
    assert all(isinstance(output, ct.TransportableObject) for output in outputs.values())


def test_post_processing_can_be_done_here(completed: Result, failed: Result) -> None:
    """Of one that failed the error says what is missing; `Result` itself is made by `get_result` only."""
    assert completed.post_process() == 25
    with pytest.raises(GraphError, match="broken"):
        failed.post_process()
    with pytest.raises(TypeError):
        Result(workflow, dispatch_id="")  # type: ignore[call-arg, arg-type]


def test_dispatch_takes_what_its_page_says() -> None:
    """Each is a callable that takes the workflow's arguments; an id is a str, `dispatch_sync` gives a result."""
    run = ct.dispatch(workflow, None, False)(2, y=3)
    assert isinstance(run, str)
    assert ct.get_result(run, wait=True).result == ct.dispatch_sync(workflow, None)(2, 3).result == 25
    assert callable(ct.dispatch(orig_lattice=workflow, dispatcher_addr="localhost:48008", disable_run=False))
    with pytest.raises(ValueError, match="COVALAB_DATA_DIR"):
        ct.dispatch(workflow, "http://elsewhere:48008")


def test_redispatch_takes_what_its_page_says(completed: Result) -> None:
    """New inputs, a replacement, what is reused; a name that the workflow does not call; the original stays."""
    before = str(completed)
    run = completed.dispatch_id
    assert ct.get_result(ct.redispatch(run)(3, y=4), wait=True).result == 49
    again = ct.redispatch(run, replace_electrons={"square": ct.electron(plus_one)}, reuse_previous_results=True)()
    result = ct.get_result(again, wait=True)
    assert result.result == 6
    added = result.get_node_result(0)
    assert (added["node_name"], added["start_time"]) == ("add", added["end_time"])  # it did not run
    with pytest.raises(GraphError, match="calls no electron named nothing"):
        ct.redispatch(run, replace_electrons={"nothing": plus_one})()
    with pytest.raises(ValueError, match="COVALAB_DATA_DIR"):
        ct.redispatch(run, "http://elsewhere:48008")
    assert str(ct.get_result(run)) == before


def plus_one(x: int) -> int:
    """Stand for `square`."""
    return x + 1


class ByHand(BaseTrigger):
    """A trigger of one's own."""

    def observe(self) -> None:
        """Wait until it is stopped."""
        self.stop_flag = threading.Event()
        self.stop_flag.wait()

    def stop(self) -> None:
        """Stop waiting."""
        self.stop_flag.set()


def test_triggers_are_as_their_page_says() -> None:
    """Attributes, a dictionary that JSON holds and that makes another, what fires by hand, and `stop_triggers`."""
    attributes = {
        *("lattice_dispatch_id", "dispatcher_addr", "triggers_server_addr", "new_dispatch_ids", "observe_blocks"),
        *("event_loop", "use_internal_funcs", "stop_flag"),
    }
    kinds = [ByHand(), TimeTrigger(3600), DirTrigger("/", ["created"])]
    for kind in kinds:
        assert all(hasattr(kind, name) for name in attributes)
        described = json.loads(json.dumps(kind.to_dict()))
        assert described["name"] == type(kind).__name__
        again = type(kind).__new__(type(kind))
        again.__dict__.update(
            {key: value for key, value in described.items() if key not in ("name", "new_dispatch_ids")}
        )
        assert again.to_dict() == kind.to_dict()
        with pytest.raises(RuntimeError, match="lattice_dispatch_id"):
            kind.trigger()
    assert (kinds[1].time_gap, kinds[1].stop_flag) == (3600, None)  # type: ignore[attr-defined]

    runs = [ct.dispatch(ct.lattice(square, triggers=kind))(4) for kind in kinds[:2]]
    assert [kind.state for kind in kinds[:2]] == ["watching"] * 2
    kinds[0].trigger()
    assert ct.get_result(runs[0], wait=True, timeout=60).result == 16
    with pytest.raises(ValueError, match="COVALAB_DATA_DIR"):
        ct.stop_triggers(runs[0], "http://elsewhere:48008")
    ct.stop_triggers(runs[0])
    ct.stop_triggers(runs[1:], None)
    assert [kind.state for kind in kinds[:2]] == ["stopped"] * 2


EXPERIMENT = """
import sys
import covalab as ct


class Near(ct.executor.BaseExecutor):
    def run(self, function, args, kwargs, task_metadata):
        return function(*args, **kwargs)


@ct.electron
def load_data():
    return [x % 7 for x in range(200)], [x % 7 > 3 for x in range(200)]


class Classifier:  # stands for the page's SVM: importing that takes a minute on a busy machine
    def __init__(self, C, gamma):
        self.limit = 0.0

    def fit(self, X, y):
        self.limit = sum(X) / len(X)
        return self

    def score(self, X, y):
        return sum((x > self.limit) == is_large for x, is_large in zip(X, y)) / len(X)


@ct.electron(executor=Near())
def train_svm(data, C, gamma):
    X, y = data
    return Classifier(C=C, gamma=gamma).fit(X[90:], y[90:])


@ct.electron(executor="local")
def score_svm(data, clf):
    X_test, y_test = data
    return clf.score(X_test[:90], y_test[:90])


@ct.electron
def hold(score, file):
    import os, time

    while not os.path.exists(file):
        time.sleep(0.01)
    return score


@ct.lattice
def run_experiment(C=1.0, gamma=0.7, file=""):
    data = load_data()
    return hold(score_svm(data, train_svm(data, C, gamma)), file)


dispatch_id = ct.dispatch(run_experiment)(C=1.0, gamma=0.001, file=sys.argv[1])
print(dispatch_id)
"""


@ct.electron
def train_svm_redefined(data: Any, C: float, gamma: float) -> Any:  # noqa: N803 - as the page has it
    """Make something that scores."""
    return Always(data[1])


class Always:
    """Classifier that is always right."""

    def __init__(self, labels: list[bool]) -> None:
        self.labels = labels

    def score(self, samples: list[int], labels: list[bool]) -> float:
        """Return one."""
        return 1.0 if len(samples) == len(labels) else 0.0


def test_the_services_keep_an_experiment_whose_source_is_gone(own: Client, tmp_path: Path) -> None:
    """The page's example: a script that ends and is deleted, partial outcomes, a kill of everything, a redispatch."""
    script, go = tmp_path / "experiment.py", tmp_path / "go"
    script.write_text(EXPERIMENT)
    command = [sys.executable, str(script), str(go)]
    dispatch_id = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path).stdout.strip()
    script.unlink()

    until(lambda: own.summary(dispatch_id).counts.completed == 3)
    partial = ct.get_result(dispatch_id=dispatch_id, wait=False)
    nodes = {node["node_name"]: node for node in partial.get_all_node_results()}
    score = nodes["score_svm"]["output"].get_deserialized()
    assert partial.status == ct.status.RUNNING
    assert score > 0.5
    for process in psutil.Process(own.status().pid).children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            process.kill()
    os.kill(own.status().pid, signal.SIGKILL)
    go.touch()
    result = ct.get_result(dispatch_id, wait=True, timeout=120)

    assert result.result == score
    for name in ("load_data", "train_svm", "score_svm"):  # what was done is not done again
        again = next(node for node in result.get_all_node_results() if node["node_name"] == name)
        assert again["start_time"] == nodes[name]["start_time"]
    assert result.inputs["kwargs"] == {"C": 1.0, "gamma": 0.001, "file": str(go)}
    assert "def run_experiment" in result.lattice.workflow_function_string
    graph = result.transport_graph.graph
    assert all(edge.source != edge.target for edge in graph.edges)
    redispatch_id = ct.redispatch(
        dispatch_id, replace_electrons={"train_svm": train_svm_redefined}, reuse_previous_results=True
    )()
    redone = ct.get_result(redispatch_id, wait=True, timeout=120)
    assert redone.result == 1.0
    data = next(node for node in redone.get_all_node_results() if node["node_name"] == "load_data")
    assert data["start_time"] == data["end_time"]  # reused
