"""A data folder that an earlier covalab wrote, opened with this one: all of it can be read, repeated and finished.

`tests/old_data` has the folder, what is expected of it, and how it was made. What is pickled in it names modules by
where they were then; it can be read for ever.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from tests.old_data.folder import described, relocate, shown

import covalab as ct
from covalab.client import Client, connect
from covalab.core.codec import decode, wrap_pickle
from covalab.core.run_log import LogQuery

FOLDER = Path(__file__).parents[1] / "old_data"
ARCHIVE = FOLDER / "schema-10_commit-8c5dfc5.tar.xz"
EXPECTED: dict[str, dict[str, Any]] = json.loads((FOLDER / "expected.json").read_text())
GLOBALS = (FOLDER / "globals.txt").read_text().split("\n")[:-1]

ENDED = [name for name, it in EXPECTED.items() if "at_last" not in it and name != "spare"]
NOT_ENDED = [name for name, it in EXPECTED.items() if "at_last" in it]
STARTED = [name for name in NOT_ENDED if EXPECTED[name]["status"] == "RUNNING"]
HELD = [name for name in NOT_ENDED if EXPECTED[name]["status"] == "NEW_OBJECT"]
NEED_PEOPLE = ("live", "planned")
FAILED = ("failing", "from_failing_cells")
REPEATED = [name for name in ENDED if name not in (*NEED_PEOPLE, *FAILED, "cancelled")]

WRITTEN_BY = (3, 11)
is_same_python = sys.version_info[:2] == WRITTEN_BY
code_runs = pytest.mark.skipif(not is_same_python, reason="byte code is of one Python; another test says what is said")


class Old(NamedTuple):
    """The folder, opened."""

    client: Client
    work: Path

    def id(self, name: str) -> str:
        """Return the id of a dispatch."""
        return str(EXPECTED[name]["id"])

    def runs(self) -> list[str]:
        """Return which tasks have run, in order."""
        witness = self.work / "witness"
        return witness.read_text().split("\n")[:-1] if witness.exists() else []


@pytest.fixture(scope="module")
def old(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Old]:
    """Unpack the folder, and let this covalab open it under this interpreter."""
    folder, work = tmp_path_factory.mktemp("old"), tmp_path_factory.mktemp("work")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    environment = {"PATH": os.environ["PATH"]}
    relocate(folder / "covalab.db", python=sys.executable, prefix=sys.prefix, cwd=str(work), shell_env=environment)
    for name, text in {"in.txt": "in", "there.txt": "there", "go": "", "part": ""}.items():
        (work / name).write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COVALAB_DATA_DIR", str(folder))
        client = connect(data_dir=folder)
        yield Old(client, work)
        client.stop()


def ended(run: str) -> ct.Result:
    """Wait for a dispatch."""
    return ct.get_result(run, wait=True, timeout=120)


def values(name: str) -> dict[str, Any]:
    """Return what a dispatch was given, as it is stored."""
    found: dict[str, Any] = ct.get_result(EXPECTED[name]["id"]).inputs.get_deserialized()
    return found


def again(name: str, call: Callable[..., str]) -> str:
    """Call with what a dispatch was given, and with the setting that one of them was made with."""
    given = values(name)
    with pytest.MonkeyPatch.context() as patch:
        if name == "exhaustive":
            patch.setenv("COVALAB_EXHAUSTIVE_POSTPROCESS", "true")
        return call(*given["args"], **given["kwargs"])


def same(found: dict[str, ct.Result]) -> None:
    """Compare the values of repeated dispatches with those of the first ones."""
    now = {name: (result.error, shown(result.result)) for name, result in found.items()}
    assert now == {name: (None, EXPECTED[name]["result"]) for name in found}


@pytest.mark.parametrize("name", GLOBALS)
def test_a_pickled_name_is_found(name: str) -> None:
    """Every class, function and module of covalab that was ever pickled by its name, wherever it is by now."""
    module, _, attribute = name.partition(" ")
    text = module.encode()
    pickled = b"c%b\n%b\n" % (text, attribute.encode())
    if not attribute:
        pickled = b"ccloudpickle.cloudpickle\nsubimport\n\x8c" + bytes([len(text)]) + text + b"\x85R"
    found = decode(wrap_pickle(b"\x80\x04" + pickled + b".").join())

    current = {
        "Part": "ArgumentPart",
        "Unset": "Missing",
        "Record": "DispatchRecord",
        "Moment": "Timestamp",
        "leptons": "lepton_decorators",
    }
    assert found is not None
    assert getattr(found, "__name__", "").split(".")[-1] in (
        *name.replace(" ", ".").split("."),
        "lattice",
        current.get(attribute or module.split(".")[-1]),
    )


def test_another_python_says_so(tmp_path: Path) -> None:
    """A function of another Python is not opened, and the error names both; the one that wrote it opens it."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    connection = sqlite3.connect(tmp_path / "covalab.db")
    (blob,) = connection.execute("SELECT rest FROM submissions WHERE key = 1").fetchone()
    connection.close()
    rest = msgspec.msgpack.decode(blob)
    lattice = rest["code"][rest["lattice"]]
    if is_same_python:
        assert decode(lattice).__name__ == EXPECTED["small"]["name"]
    else:
        with pytest.raises(ct.SerializationError, match=r"written by Python 3\.11, this is"):
            decode(lattice)


@code_runs
def test_every_dispatch_is_listed(old: Old) -> None:
    """By id, name and status; what had not ended may have by now."""
    listed = {one.dispatch_id: one for one in ct.list_dispatches(count=1000)}
    for name in (*ENDED, *NOT_ENDED):
        one, expected = listed[old.id(name)], EXPECTED[name]
        assert one.name == expected["name"]
        assert one.status in {expected["status"], "COMPLETED" if name in NOT_ENDED else expected["status"]}


@code_runs
@pytest.mark.parametrize("name", ENDED)
def test_what_ended_is_as_it_was(old: Old, name: str) -> None:
    """Value, inputs, error, lattice, every node, state, stream, interventions and answers."""
    assert described(ct.get_result(old.id(name))) == EXPECTED[name]


@code_runs
def test_the_log_says_that_times_were_not_stored(old: Old) -> None:
    """Of what an earlier version ran, the text of a task is at its start."""
    page = old.client.log(old.id("with_deps"), LogQuery())
    started, *printed, _ = (line for line in page.lines if line.node >= 0 or line.status is None)

    assert [line.text for line in printed] == ["from bash", "two", "before"]
    assert {line.at for line in printed} == {started.at}
    assert (page.is_by_start, page.has_ended) == (True, True)
    assert ct.list_dispatches(count=1)[0]["tags"] == []


def test_an_exception_is_the_one_that_was_raised(old: Old) -> None:
    """With its class, although that was defined in a program that is gone; and so are those of earlier attempts."""
    record = ct.get_result(old.id("failing")).get_task_result(2)
    assert record is not None
    assert record.error is not None
    error = record.error.exception
    assert (type(error).__name__, error.args) == ("Broken", ("broken", 2))  # type: ignore[union-attr]

    attempts = ct.get_result(old.id("retried")).get_node_attempts(0)
    assert [attempt["attempt"] for attempt in attempts] == [1, 2, 3]
    details = [str(attempt["error_details"]) for attempt in attempts]
    assert ["run 1" in details[0], "run 2" in details[1], details[2]] == [True, True, "None"]


@code_runs
def test_values_of_every_class_open(old: Old, monkeypatch: pytest.MonkeyPatch) -> None:
    """What people hold and send: results of covalab's own functions, executors, dependencies, triggers, exceptions."""
    monkeypatch.chdir(old.work)
    result = ct.get_result(old.id("everything"))
    kept = result.result

    assert kept["ct_dispatch"] is ct.dispatch
    assert kept["status"] == ct.status.COMPLETED
    assert kept["error_class_TaskFailed"] is ct.TaskFailed
    assert isinstance(kept["small"], ct.Lattice)
    assert shown(kept["transportable"]) == "list[1, Point(1, 2)]"
    assert kept["lepton_python"](3, 4) == 5
    assert kept["small"](1, y=4) == 6
    assert kept["deps_call"].apply_args.get_deserialized() == [1]
    assert str(kept["handle"]) == kept["handle"]
    assert kept.keys() == values("everything")["args"][0].keys()


@code_runs
def test_the_stored_graph_runs_again(old: Old) -> None:
    """Just as it was recorded."""
    (old.work / "tries").unlink(missing_ok=True)
    runs = {name: ct.redispatch(old.id(name))() for name in REPEATED}

    same({name: ended(run) for name, run in runs.items()})


@code_runs
def test_the_stored_lattice_is_built_again(old: Old, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lattice, electrons, sublattices, hooks, leptons and executors are opened and sent once more."""
    monkeypatch.chdir(old.work)
    (old.work / "tries").unlink(missing_ok=True)
    runs = {}
    for name in REPEATED:
        lattice = ct.get_result(old.id(name)).lattice
        assert isinstance(lattice, ct.Lattice), lattice
        runs[name] = again(name, ct.dispatch(lattice))

    same({name: ended(run) for name, run in runs.items()})


@code_runs
@pytest.mark.parametrize("built_again", [False, True])
def test_what_is_reused_does_not_run(old: Old, built_again: bool) -> None:
    """Neither with the stored graph nor with one that is built again for the same arguments."""
    for run in [ended(old.id(name)) for name in STARTED if name not in ("asking", "paused", "open")]:
        assert run.is_terminal
    before = old.runs()
    runs = {}
    for name in REPEATED:
        if name == "everything" and built_again:
            continue  # of some of its values nobody can say whether they are the same
        call = ct.redispatch(old.id(name), reuse_previous_results=True)
        runs[name] = again(name, call) if built_again else call()
    results = {name: ended(run) for name, run in runs.items()}

    same(results)
    ran = {
        name: [node["node_name"] for node in result.get_all_node_results() if node.get("attempts")]
        for name, result in results.items()
    }
    assert {name: nodes for name, nodes in ran.items() if nodes} == {}
    assert old.runs() == before


@code_runs
def test_what_failed_is_resumed_where_it_failed(old: Old) -> None:
    """What completed is reused; what failed is run, and fails again."""
    runs = {name: ct.redispatch(old.id(name), reuse_previous_results=True)() for name in FAILED}
    for name, run in runs.items():
        result, expected = ended(run), EXPECTED[name]
        attempts = {str(node["node_id"]): node.get("attempts") for node in result.get_all_node_results()}

        assert (str(result.status), result.error) == ("FAILED", expected["error"])
        for number, node in expected["nodes"].items():
            assert attempts[number] == (
                1 if node["status"] == "FAILED" else 0 if node["attempts"] is not None else None
            )


@code_runs
@pytest.mark.parametrize("name", STARTED)
def test_what_was_running_goes_on_to_its_end(old: Old, name: str) -> None:
    """Although everything was killed; what had completed is as it was, and does not run again."""
    run, expected = old.id(name), EXPECTED[name]
    if name == "paused":
        assert ct.get_result(run).get_meta()["paused"]
        ct.resume(run)
    if name == "asking":
        (waiting,) = ct.get_interrupts(run)
        assert waiting["type"] == "number"
        ct.continue_with(run, waiting["id"], 7)
    if name == "open":
        ct.get_execution(run).close()
    found = described(ended(run))

    assert (found["status"], found["error"], found["result"]) == ("COMPLETED", None, expected["at_last"])
    assert [found[key] for key in ("name", "inputs", "source", "doc")] == [
        expected[key] for key in ("name", "inputs", "source", "doc")
    ]
    for number, node in expected["nodes"].items():
        if node["status"] == "COMPLETED":
            assert found["nodes"][number] == node


@code_runs
@pytest.mark.parametrize("name", HELD)
def test_what_was_held_can_be_started(old: Old, name: str) -> None:
    """Recorded only, waiting for a trigger, for its time, or for the time of the next run."""
    run, expected = old.id(name), EXPECTED[name]
    assert described(ct.get_result(run)) == {key: it for key, it in expected.items() if key != "at_last"}
    old.client.start_held(run)

    assert shown(ended(run).result) == expected["at_last"]


@code_runs
def test_triggers_are_as_they_were(old: Old) -> None:
    """One watches on, in a host of this covalab; the others had been stopped."""
    (watching,) = ct.get_result(old.id("watched")).triggers
    stopped = ct.get_result(old.id("unwatched")).triggers

    assert (watching.name, watching.state, watching.error) == ("TimeTrigger", "watching", "")
    assert {one.name for one in stopped} == {"DirTrigger", "SQLiteTrigger", "DatabaseTrigger", "Never"}
    assert {one.state for one in stopped} == {"stopped"}


@code_runs
def test_a_series_has_its_runs(old: Old) -> None:
    """The first has ended, the next is there."""
    first, following = old.id("series"), old.id("series_next")
    assert {first, following} <= {one.dispatch_id for one in ct.list_dispatches(schedule_id=first)}


@code_runs
def test_it_can_be_deleted(old: Old) -> None:
    """With all below it."""
    below = [node["below"] for node in EXPECTED["spare"]["nodes"].values() if node["below"]]
    old.client.delete(old.id("spare"))

    for run in (old.id("spare"), *below):
        with pytest.raises(ct.MissingLatticeRecordError):
            ct.get_result(run)
