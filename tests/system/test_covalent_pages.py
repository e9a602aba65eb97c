"""Covalent's pages "Results", "Dispatch infrastructure" and "Covalent services", row by row: what they document is so.

One test for each row of a page that no other test is named after; the signatures of all of them by `inspect`.
"""

from __future__ import annotations

import inspect
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import covalab as ct
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
    """DOT, SVG, PDF; without Graphviz's program the picture of a notebook, and a word about the PDF."""
    monkeypatch.setenv("PATH", "")

    assert completed.graph() == completed.graph("dot")
    assert 'label="add\\n' in completed.graph("dot")
    assert "->" in completed.graph("dot")
    assert completed.graph("svg").startswith("<svg")
    assert "square" in completed.graph("svg")
    with pytest.raises(GraphError, match="`dot`, which is not on the PATH; install it"):
        completed.graph("pdf")
    with pytest.raises(GraphError, match=rf"{completed.dispatch_id} is given as dot, svg or pdf, not 'png'"):
        completed.graph("png")  # type: ignore[call-overload]
