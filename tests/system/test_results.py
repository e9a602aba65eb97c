"""From a lattice to its result and back, through a real dispatcher, a real pool and real workers."""

from __future__ import annotations

import asyncio
import datetime as dt
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.system.tasks import adding

import covalab as ct
from covalab.client import Client
from covalab.sdk.results.handle import DispatchHandle

pytestmark = pytest.mark.usefixtures("live")


@ct.electron
def load(n: int = 3) -> tuple[list[int], str]:
    """Return two things, and say so."""
    print("loading", n)
    return list(range(n)), "label"


@ct.electron
def total(xs: Any, scale: Any = 1) -> Any:
    """Return the scaled sum."""
    return sum(xs) * scale


@ct.electron
def explode(x: Any) -> Any:
    """Fail."""
    message = f"no {x}"
    raise ValueError(message)


@ct.lattice
def experiment(n: int, scale: int = 2) -> Any:
    """Use most of what a lattice can do."""
    xs, label = load(n)
    t = total(xs, scale=scale)
    return {"t": t + 1, "label": label, ("a", 1): [t * 2, (t, xs[-1])]}


@ct.lattice
def failing(x: Any) -> Any:
    """Fail in one node, and go on beside it."""
    return [total([explode(x), 1]), total([1, 2])]


def test_a_result_comes_back() -> None:
    """The value of the lattice, with collections of every kind, through `dispatch` and `get_result`."""
    run = ct.dispatch(experiment)(4, scale=3)
    result = ct.get_result(run, wait=True)

    assert isinstance(run, DispatchHandle)
    assert result.status == ct.status.COMPLETED
    assert result.result == {"t": 19, "label": "label", ("a", 1): [36, [18, 3]]}
    assert result.encoded_result is not None
    assert result.encoded_result.get_deserialized() == result.result
    assert result.inputs.get_deserialized() == {"args": (4,), "kwargs": {"scale": 3}}
    assert result.error is None
    assert result.dispatch_id == result.root_dispatch_id == run
    assert result.raise_for_status() is result


def test_times_are_covalents() -> None:
    """UTC without a time zone, the end not before the start."""
    result = ct.dispatch_sync(experiment)(2)
    now = dt.datetime.now(dt.timezone.utc).replace(tzinfo=None)

    assert result.start_time is not None
    assert result.end_time is not None
    assert result.start_time.tzinfo is None
    assert dt.timedelta(0) <= result.end_time - result.start_time
    assert abs(now - result.end_time) < dt.timedelta(hours=1)


def test_a_node_tells_everything() -> None:
    """Covalent's ten keys come first; the output is closed, what was printed is text, also for parameters."""
    result = ct.dispatch_sync(experiment)(2)
    node = result.get_node_result(0)

    assert list(node)[:10] == [
        *("node_id", "node_name", "start_time", "end_time", "status", "output", "error"),
        *("sublattice_result", "stdout", "stderr"),
    ]
    assert (node["node_id"], node["node_name"], node["status"]) == (0, "load", "COMPLETED")
    assert node["output"].get_deserialized() == ([0, 1], "label")
    assert node["stdout"] == "loading 2\n"
    assert node["stderr"] is None
    assert node["error"] is None
    parameter = result.get_node_result(1)
    assert (parameter["node_name"], parameter["status"]) == (":parameter:2", "COMPLETED")
    assert parameter["output"].get_deserialized() == 2
    with pytest.raises(KeyError, match="has no node 99"):
        result.get_node_result(99)


def test_all_nodes_can_be_asked_at_once() -> None:
    """Outputs by name and number; results in order."""
    result = ct.dispatch_sync(experiment)(2)
    outputs = result.get_all_node_outputs()
    results = result.get_all_node_results()

    assert list(outputs)[:3] == ["load(0)", ":parameter:2(1)", ":load()[0](2)"]
    assert outputs[":load()[0](2)"] is not None
    assert outputs[":load()[0](2)"].get_deserialized() == [0, 1]
    assert [f"{node['node_name']}({node['node_id']})" for node in results] == list(outputs)
    assert all(output is not None for output in outputs.values())


def test_a_result_reads_as_covalents() -> None:
    """The text has Covalent's headings and lines; the short form says the most important."""
    result = ct.dispatch_sync(experiment)(2, scale=5)
    text = str(result)

    assert text.startswith("\nLattice Result\n==============\nstatus: COMPLETED\nresult: {'t': 6, 'label': 'label'")
    assert "input args: ['2']\ninput kwargs: {'scale': '5'}\nerror: None\n" in text
    assert "\nNode Outputs\n------------\nload(0): ([0, 1], 'label')\n" in text
    assert repr(result) == f"<Result of 'experiment': COMPLETED, dispatch {result.dispatch_id}>"


def test_the_lattice_of_a_result_can_be_read() -> None:
    """Source, inputs and graph come with the record."""
    lattice = ct.dispatch_sync(experiment)(2).lattice

    assert lattice.__name__ == "experiment"
    assert lattice.__doc__ == "Use most of what a lattice can do."
    assert "def experiment" in lattice.workflow_function_string
    assert lattice.transport_graph.get_node_value(0, "stdout") == "loading 2\n"
    assert lattice.transport_graph.get_node_value(0, "status") == "COMPLETED"
    assert lattice.transport_graph.get_node_value(0, "output").get_deserialized()[1] == "label"


def test_a_failed_node_has_its_traceback_and_the_rest_goes_on() -> None:
    """`error` names node and exception, the node has the user's frames, what depends on it never starts."""
    result = ct.dispatch_sync(failing)("way")
    node, after, beside = (result.get_node_result(number) for number in (0, 2, 5))

    assert result.status == "FAILED"
    assert result.result is None
    assert result.encoded_result is None
    assert result.error == "The following tasks failed:\n0: explode: ValueError: no way"
    assert node["status"] == "FAILED"
    assert "raise ValueError(message)" in node["error"]
    assert "ValueError: no way" in node["stderr"]
    assert "covalab/worker" not in node["error"]
    assert after["node_name"] == beside["node_name"] == "total"
    assert after["status"] == "NEW_OBJECT"
    assert after["output"] is None
    assert beside["output"].get_deserialized() == 3
    assert "error: The following tasks failed:" in str(result)


def test_raising_for_status_tells_what_failed() -> None:
    """The exception has the failed nodes and the first traceback; a handle's `result` raises the same."""
    run = ct.dispatch(failing)("luck")

    with pytest.raises(ct.TaskFailed, match=r"(?s)failing.*0: explode: ValueError: no luck.*Traceback"):
        ct.get_result(run, wait=True).raise_for_status()
    with pytest.raises(ct.TaskFailed, match="no luck"):
        run.result()


def test_a_handle_gives_status_and_value() -> None:
    """The shortest way from a dispatch to its value."""
    run = ct.dispatch(experiment)(2)

    assert run.result()["label"] == "label"
    assert run.status == ct.status.COMPLETED


def test_waiting_ends_with_the_time() -> None:
    """A result with the status of that moment; a handle raises, since there is no value."""

    @ct.electron
    def slow() -> None:
        import time

        time.sleep(30)

    run = ct.dispatch(ct.lattice(slow))()
    try:
        result = ct.get_result(run, wait=True, timeout=0.2)
        assert result.status in ("NEW_OBJECT", "RUNNING")
        assert result.result is None
        assert result.error is None
        with pytest.raises(TimeoutError, match=f"dispatch {run} is still"):
            run.result(timeout=0.1)
    finally:
        said = ct.cancel(run)

    assert said == f"Dispatch {run} cancelled."
    ended = ct.get_result(run, wait=True)
    assert ended.status == "CANCELLED"
    assert ended.error is None
    with pytest.raises(ct.TaskFailed, match="was cancelled"):
        ended.raise_for_status()


def test_only_the_status_can_be_asked() -> None:
    """A small dictionary, at once."""
    run = ct.dispatch_sync(experiment)(1).dispatch_id

    assert ct.get_result(run, status_only=True) == {"id": run, "status": "COMPLETED"}


def test_outputs_can_be_left_out() -> None:
    """What is left out is None."""
    run = ct.dispatch_sync(experiment)(1).dispatch_id

    without = ct.get_result(run, workflow_output=False)
    bare = ct.get_result(run, intermediate_outputs=False)

    assert without.result is None
    assert without.encoded_result is None
    assert without.get_node_result(0)["output"] is not None
    assert bare.result["label"] == "label"
    assert bare.get_node_result(0)["output"] is None
    assert bare.get_all_node_outputs()["load(0)"] is None


@pytest.mark.parametrize(
    "ask",
    [
        ct.get_result,
        ct.cancel,
        lambda run: ct.get_result(run, status_only=True),
        lambda run: DispatchHandle(run).status,
    ],
)
def test_an_unknown_id_is_said_so(ask: Callable[[str], Any]) -> None:
    """Every verb raises the same error, which names the id."""
    with pytest.raises(ct.MissingLatticeRecordError, match="no dispatch 'nothing'"):
        ask("nothing")


@pytest.mark.parametrize(("body", "value"), [(lambda: None, None), (lambda: (1, {"k": (2,)}), [1, {"k": [2]}])])
def test_a_lattice_without_electrons_has_its_constant(body: Callable[[], Any], value: Any) -> None:
    """Nothing runs, and the value is there."""
    result = ct.dispatch_sync(ct.lattice(body))()

    assert result.status == "COMPLETED"
    assert result.result == value


def test_a_dict_with_tuples_as_keys_reaches_an_electron() -> None:
    """Keys that were tuples are tuples again; a dict cannot have lists as keys."""
    keys = ct.electron(lambda d: [type(key).__name__ for key in d])

    assert ct.dispatch_sync(ct.lattice(keys))({("a", (1, 2)): 3, "b": 4}).result == ["tuple", "str"]


def test_large_values_go_through_files() -> None:
    """Arguments, outputs and results above the inline limit arrive as they were."""
    array = np.arange(1_000_000.0)
    double = ct.electron(lambda a: a * 2)
    result = ct.dispatch_sync(ct.lattice(lambda a: [double(a), double(a)[:3]]))(array)

    assert result.error is None
    assert (result.result[0] == array * 2).all()
    assert list(result.result[1]) == [0.0, 2.0, 4.0]


def test_an_electron_may_import_the_module_beside_the_script() -> None:
    """Functions of this very test module run on a worker, which finds it as this process does."""
    assert ct.dispatch_sync(ct.lattice(total))([1, 2], scale=2).result == 6


def test_one_dispatch_is_one_request_and_its_result_another(live: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two requests in all, counted where they leave."""
    asked: list[str] = []
    before = Client._request

    def counting(self: Client, *args: Any, **kwargs: Any) -> Any:
        asked.append(f"{args[0]} {args[1]}")
        return before(self, *args, **kwargs)

    monkeypatch.setattr(Client, "_request", counting)
    result = ct.dispatch_sync(experiment)(2)

    assert result.result["label"] == "label"
    assert len(asked) == 2, asked


def test_a_dispatch_and_a_result_show_themselves() -> None:
    """Both have the MIME bundle that the front end draws, with the id in it and a text for everybody else."""
    run = ct.dispatch(experiment)(2)
    result = ct.get_result(run, wait=True)

    for bundle in (run._repr_mimebundle_(), DispatchHandle(str(run))._repr_mimebundle_(), result._repr_mimebundle_()):
        assert bundle["application/vnd.covalab.dispatch+json"]["id"] == run
        assert re.search("experiment", bundle["text/plain"])


def test_waiting_for_a_result_leaves_the_event_loop_free(live: Client, tmp_path: Path) -> None:
    """Others are heard meanwhile; when the time is up it is a result that runs; unknown ids are an error at once."""
    del live
    mark = tmp_path / "go"

    @ct.electron
    def until_told(file: str) -> int:
        while not Path(file).exists():
            time.sleep(0.01)
        return 7

    async def main() -> None:
        run = ct.dispatch(ct.lattice(until_told))(str(mark))
        assert (await ct.async_get_result(run, wait=True, timeout=0.2)).status == "RUNNING"
        assert (await ct.async_get_result(run, status_only=True))["status"] == "RUNNING"
        waiting = asyncio.gather(ct.async_get_result(run, wait=True), ct.async_dispatch_sync(ct.lattice(adding))(1))
        await asyncio.sleep(0.1)
        mark.touch()
        first, second = await waiting
        assert (first.result, second.result) == (7, 2)
        with pytest.raises(ct.MissingLatticeRecordError):
            await ct.async_get_result("no-such-dispatch", wait=True)

    asyncio.run(main())
