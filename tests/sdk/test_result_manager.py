"""Results as files: in a chosen folder, under Covalent's names, only when asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import covalab as ct
from covalab.client import Client
from covalab.core.errors import SerializationError
from covalab.sdk.dispatching.local_dispatcher import LocalDispatcher
from covalab.sdk.results.result_files import LATTICE_ASSETS, NODE_ASSETS, RESULT_ASSETS
from covalab.sdk.results.result_manager import ResultManager, _delete_result

pytestmark = pytest.mark.usefixtures("live")


@ct.electron
def shout(text: str) -> str:
    """Say it, and return it louder."""
    print("shouting", text)
    return text.upper()


@ct.lattice
def workflow(text: str, times: int = 2) -> Any:
    """Shout several times."""
    return [shout(text) for _ in range(times)]


@ct.lattice
def failing(text: str) -> Any:
    """Fail."""
    return shout(shout(text)[99])


@pytest.fixture(scope="module")
def run(data_dir: Path) -> str:
    """Return the id of a dispatch that has completed."""
    run = ct.dispatch(workflow)("a", times=1)
    ct.get_result(run, wait=True)
    return str(run)


def test_every_part_can_be_written_and_read(run: str, tmp_path: Path) -> None:
    """Of the result, the lattice and a node, each under its name in Covalent; None where there is nothing."""
    manager = ct.get_result_manager(run, tmp_path / "files")
    assert not (tmp_path / "files").exists()
    assert ResultManager.from_dispatch_id(run, tmp_path / "files").result_object.result == ["A"]
    assert not (tmp_path / "files").exists()

    assert manager.load_result_asset("result").get_deserialized() == ["A"]
    assert manager.load_result_asset("error") is None
    assert manager.load_lattice_asset("workflow_function").get_deserialized()("x", 0) == []
    assert "def workflow" in manager.load_lattice_asset("workflow_function_string")
    assert manager.load_lattice_asset("doc") == "Shout several times."
    assert manager.load_lattice_asset("inputs").get_deserialized() == {"args": ("a",), "kwargs": {"times": 1}}
    assert manager.load_lattice_asset("hooks") is None
    assert manager.load_node_asset(0, "output").get_deserialized() == "A"
    assert manager.load_node_asset(0, "function").get_deserialized()("b") == "B"
    assert "def shout" in manager.load_node_asset(0, "function_string")
    assert manager.load_node_asset(0, "stdout") == "shouting a\n"
    assert manager.load_node_asset(0, "stderr") is manager.load_node_asset(0, "error") is None
    assert manager.load_node_asset(1, "value").get_deserialized() == "a"
    assert manager.load_node_asset(0, "value") is manager.load_node_asset(1, "function") is None
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")) == [
        *("files/function.tobj", "files/function_docstring.txt", "files/function_string.txt", "files/inputs.tobj"),
        *("files/node_0/function.tobj", "files/node_0/function_string.txt", "files/node_0/results.tobj"),
        *("files/node_0/stdout.log", "files/node_1/value.tobj", "files/results.tobj"),
    ]


def test_a_part_that_does_not_exist_is_a_key_error(run: str, tmp_path: Path) -> None:
    """It lists those there are; so does a missing node."""
    manager = ct.get_result_manager(run, tmp_path)

    for ask in (manager.load_result_asset, manager.load_lattice_asset):
        with pytest.raises(KeyError, match="has no 'colour'; it has "):
            ask("colour")
    with pytest.raises(KeyError, match="a node has no 'colour'"):
        manager.download_node_asset(0, "colour")
    for key in NODE_ASSETS:
        with pytest.raises(KeyError, match="no node 99"):
            manager.download_node_asset(99, key)
    assert list(tmp_path.iterdir()) == []


def test_what_failed_has_its_error_as_a_file(tmp_path: Path) -> None:
    """The dispatch's and the node's; the traceback is in the node's stderr."""
    run = ct.dispatch(failing)("a")
    manager = ct.get_result_manager(run, str(tmp_path), wait=True)

    assert "IndexError" in manager.load_result_asset("error")
    assert manager.load_result_asset("result") is None
    failed = next(node for node in manager.result_object.get_all_node_results() if node["status"] == "FAILED")
    assert "IndexError" in manager.load_node_asset(failed["node_id"], "error")
    assert "IndexError" in Path(manager.download_node_asset(failed["node_id"], "stderr") or "").read_text()


def test_a_result_writes_files_only_where_it_is_told(run: str, tmp_path: Path) -> None:
    """`get_result(results_dir=...)` writes all there is; the flags leave out; without it nothing is written."""
    result = ct.get_result(run, results_dir=str(tmp_path / "all"))
    ct.get_result(run, results_dir=str(tmp_path / "few"), workflow_output=False, intermediate_outputs=False)

    assert result.results_dir == str(tmp_path / "all")
    written = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")}
    assert {"all/results.tobj", "all/manifest.json", "all/node_0/results.tobj", "all/node_1/value.tobj"} <= written
    assert {"few/manifest.json", "few/inputs.tobj", "few/node_0/stdout.log"} <= written
    assert not {"few/results.tobj", "few/node_0/results.tobj", "few/node_1/value.tobj"} & written
    assert ct.get_result(run).results_dir == str(Path(ct.get_config("sdk.results_dir")) / run)
    assert not Path(ct.get_result(run).results_dir).exists()


def test_the_folder_is_a_setting(run: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`sdk.results_dir`, with a folder for each dispatch; `_delete_result` deletes that one and no record."""
    monkeypatch.setenv("COVALAB_RESULTS_DIR", str(tmp_path / "results"))
    manager = ct.get_result_manager(run)
    manager.download_result_asset("result")
    (tmp_path / "results" / "mine").touch()

    assert manager.results_dir == str(tmp_path / "results" / run)
    assert (tmp_path / "results" / run / "results.tobj").exists()
    _delete_result(run, remove_parent_directory=True)
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["mine"]
    (tmp_path / "results" / "mine").unlink()
    _delete_result(run, remove_parent_directory=True)
    assert not (tmp_path / "results").exists()
    assert ct.get_result(run).result == ["A"]
    for wrong in ("", "..", "a/.."):
        with pytest.raises(ValueError, match="is not the id of a dispatch"):
            _delete_result(wrong)


def test_a_manifest_gives_the_manager_back(run: str, tmp_path: Path, live: Client) -> None:
    """With the same result, also after the dispatch itself was deleted; something else is refused."""
    run = ct.dispatch(workflow)("b", times=1)
    manager = ct.get_result_manager(run, tmp_path, wait=True)
    path = manager.save()
    assert path == str(tmp_path / "manifest.json")
    assert json.loads(Path(path).read_text())["summary"]["id"] == run

    live.delete(run)
    loaded = ResultManager.load(path, tmp_path / "other")
    assert loaded.result_object.result == ["B"]
    assert loaded.result_object.dispatch_id == run
    assert loaded.load_result_asset("result").get_deserialized() == ["B"]
    assert manager.save(tmp_path / "elsewhere.json") == str(tmp_path / "elsewhere.json")
    (tmp_path / "wrong.json").write_text("{}")
    with pytest.raises(SerializationError, match="is not a manifest"):
        ResultManager.load(tmp_path / "wrong.json", tmp_path)


def test_the_keys_are_covalents() -> None:
    """Covalent's layout: these names, in these folders."""
    assert set(RESULT_ASSETS) == {"result", "error"}
    assert set(LATTICE_ASSETS) == {"workflow_function", "workflow_function_string", "doc", "inputs", "hooks"}
    assert set(NODE_ASSETS) == {
        *("function", "function_string", "value", "output", "hooks", "stdout", "stderr", "error")
    }


def test_an_unknown_dispatch_is_said() -> None:
    """By the same error as everywhere."""
    with pytest.raises(ct.MissingLatticeRecordError):
        ct.get_result_manager("no-such-id")


def test_the_class_of_the_dispatcher_has_the_verbs() -> None:
    """Register, start, dispatch, wait, redispatch: static, with the same arguments."""
    run = LocalDispatcher.register(workflow, "http://localhost:48008")("c", times=1)
    assert ct.get_result(run).status == "NEW_OBJECT"
    assert LocalDispatcher.start(run) == run
    ended = ct.get_result(run, wait=True)
    assert ended.result == ["C"]
    # A dispatch runs at most once.
    assert LocalDispatcher.start(run) == run
    assert ct.get_result(run, wait=True).end_time == ended.end_time
    assert LocalDispatcher.dispatch_sync(workflow)("d", 1).result == ["D"]
    again = LocalDispatcher.redispatch(LocalDispatcher.dispatch(workflow)("e", 1))("f", times=1)
    assert ct.get_result(again, wait=True).result == ["F"]
    with pytest.raises(ValueError, match="COVALAB_DATA_DIR"):
        LocalDispatcher.start(run, "http://elsewhere:1")
