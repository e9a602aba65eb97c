"""The metadata of electrons and lattices: what is written into it is a setting."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

import covalab as ct
from covalab.core.errors import ExecutorNotFound, GraphError


@pytest.fixture
def electron() -> Any:
    """Return an electron as Covalent's programs change it."""
    return ct.electron(lambda x: x).electron_object  # type: ignore[attr-defined]


def executor_in_the_graph(electron: Any) -> dict[str, Any]:
    """Return the metadata of the electron's node."""
    workflow = ct.lattice(lambda: electron(1))
    workflow.build_graph()
    found: dict[str, Any] = workflow.transport_graph.get_node_value(0, "metadata")
    return found


@pytest.mark.parametrize(
    "write",
    [
        lambda e: e.metadata.__setitem__("executor", "local"),
        lambda e: e.metadata.update(executor="local"),
        lambda e: e.metadata.update({"executor": "local", "retries": 2}),
        lambda e: e.metadata.update([("executor", "local")]),
        lambda e: e.metadata.__ior__({"executor": "local"}),
        lambda e: e.metadata.update({"executor": "local", "executor_data": {}}),
        lambda e: e.metadata.update({"executor": "dask", "executor_data": ct.executor.LocalExecutor().to_dict()}),
        lambda e: e.set_metadata("executor", "local"),
        lambda e: setattr(e, "executor", "local"),
    ],
)
def test_a_change_reaches_the_graph(electron: Any, write: Any) -> None:
    """By every way in which a dictionary can be written, and by the older ones."""
    write(electron)

    assert electron.metadata["executor"] == electron.get_metadata("executor") == "local"
    assert executor_in_the_graph(electron)["executor"] == "local"


def test_one_dictionary_shows_its_own_changes(electron: Any) -> None:
    """An executor and its data are two entries of one setting."""
    metadata = electron.metadata
    metadata["executor"] = ct.executor.DaskExecutor(workdir="here")
    assert metadata["executor"] == "dask"
    assert metadata["executor_data"]["attributes"]["workdir"] == "here"

    metadata["executor_data"] = {**metadata["executor_data"], "attributes": {"workdir": "there", "conda_env": ""}}
    assert executor_in_the_graph(electron)["executor_data"]["attributes"]["workdir"] == "there"
    metadata["time_limit"], metadata["retries"] = 3, 2
    assert (electron.time_limit, electron.retries, metadata.setdefault("retries", 9)) == (3.0, 2, 2)


def test_a_lattice_has_it_too() -> None:
    """For its electrons and for what it does itself."""
    workflow = ct.lattice(lambda: ct.electron(abs)(-1))
    workflow.metadata["executor"] = "local"
    assert workflow.metadata["executor"] == workflow.metadata["workflow_executor"] == "local"
    workflow.metadata["workflow_executor"] = "dask"
    workflow.metadata["workflow_executor_data"] = ct.executor.DaskExecutor(workdir="w").to_dict()
    workflow.metadata["hooks"] = {"deps": {"bash": ct.DepsBash("ls").to_dict()}}
    workflow.build_graph()

    found = workflow.transport_graph.get_node_value(0, "metadata")
    assert found["executor"] == "local"
    assert found["hooks"]["deps"]["bash"]["attributes"]["commands"] == ["ls"]
    assert workflow.metadata["workflow_executor_data"]["attributes"]["workdir"] == "w"


def test_a_copy_describes_and_changes_nothing(electron: Any) -> None:
    """Copied in any way it is a plain dictionary, and JSON can hold it."""
    for other in (copy.copy(electron.metadata), copy.deepcopy(electron.metadata), dict(electron.metadata)):
        other["executor"] = "local"
        assert type(other) is dict
    assert json.loads(json.dumps(electron.metadata)) == electron.metadata
    assert electron.executor is None


def test_what_has_no_meaning_is_refused(electron: Any) -> None:
    """Nothing is ignored without a word."""
    for name, value in (("executor", 3), ("executor_data", {"x": 1}), ("nothing", 1), ("retries", -1)):
        with pytest.raises(GraphError, match=name):
            electron.metadata[name] = value
    with pytest.raises(ExecutorNotFound):
        electron.metadata["executor_data"] = {"short_name": "slrum", "attributes": {}}
    for name, args in (("pop", ("executor",)), ("popitem", ()), ("clear", ()), ("__delitem__", ("executor",))):
        with pytest.raises(GraphError, match="cannot be removed"):
            getattr(electron.metadata, name)(*args)
