"""A data folder with sessions, notebook runs and provenance that an earlier covalab wrote, opened with this one.

`tests/old_data/sessions` has the folder, what is expected of it, and the script that made it.
"""

from __future__ import annotations

import json
import os
import sys
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from tests.old_data.sessions.make import described, names_of

import covalab as ct
from covalab.client import Client, connect
from covalab.store import pages

FOLDER = Path(__file__).parents[1] / "old_data" / "sessions"
(ARCHIVE,) = FOLDER.glob("schema-*.tar.xz")
EXPECTED: dict[str, dict[str, Any]] = json.loads((FOLDER / "expected.json").read_text())
ENDED = ("study", "failing", "notebook", "again", "flow")

code_runs = pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="byte code is of one Python")


class Old(NamedTuple):
    """The folder, opened."""

    client: Client
    work: Path


def relocate(database: Path, work: Path) -> None:
    """Let every dispatch expect this interpreter, and a folder that is there."""
    place = {"python": sys.executable, "prefix": sys.prefix, "cwd": str(work), "path": [], "sys_path": []}
    with closing(pages.connect(database)) as connection, connection:
        for key, blob in connection.execute("SELECT key, submission FROM submissions").fetchall():
            assert isinstance(blob, bytes)
            record: dict[str, Any] = msgspec.msgpack.decode(blob)
            record["environment"] |= place | {"shell_env": {"PATH": os.environ["PATH"]}}
            record["variables"] = b""  # those of another machine
            connection.execute(
                "UPDATE submissions SET submission = ? WHERE key = ?", (msgspec.msgpack.encode(record), key)
            )


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Old]:
    """Unpack the folder, and let this covalab open it under this interpreter."""
    folder, work = tmp_path_factory.mktemp("old-sessions"), tmp_path_factory.mktemp("work")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    relocate(folder / "covalab.db", work)
    (work / "go").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COVALAB_DATA_DIR", str(folder))
        client = connect(data_dir=folder)
        yield Old(client, work)
        client.stop()


@pytest.mark.parametrize("name", ENDED)
def test_what_ended_is_read_as_it_was(name: str, old: Old) -> None:
    """Status, error, outputs of each cell, values of names, and the value."""
    found = described(ct.get_result(EXPECTED[name]["id"]))
    assert found == {key: value for key, value in EXPECTED[name].items() if key != "provenance"}


def test_where_it_came_from_is_known(old: Old) -> None:
    """Arguments, Python and interpreter are those of then."""
    found = ct.get_result(EXPECTED["flow"]["id"]).provenance()
    arguments = {"x of halves(x=3)": "3", "x of halves(x=4)": "4"}  # they were named `halves[0].x` then
    expected = EXPECTED["flow"]["provenance"] | {"interpreter": sys.executable, "arguments": arguments}
    assert {key: found[key] for key in expected} == expected
    assert found["packages"]["msgspec"]


def test_a_task_has_its_result(old: Old) -> None:
    """By the id that `enqueue` returned then."""
    found = ct.get_task_result(EXPECTED["task"]["id"])
    assert found is not None
    assert repr(found.result) == EXPECTED["task"]["result"]


@code_runs
def test_a_session_goes_on_to_its_end(old: Old) -> None:
    """It was killed in its last cells: what was stored then is there, random state and aliases, and it completes."""
    result = ct.get_result(EXPECTED["waiting"]["id"], wait=True, timeout=120)

    assert (result.status, result.error) == (ct.status.COMPLETED, None)
    names = names_of(result)
    import random

    random.seed(3)
    marks = [random.random(), random.random()]
    assert (names["marks"], names["total"]) == (repr(marks), repr(sum(marks)))


@code_runs
def test_a_session_runs_again(old: Old) -> None:
    """With the same values, from the cells that were recorded."""
    again = ct.get_result(ct.redispatch(EXPECTED["study"]["id"])(), wait=True, timeout=120)

    assert (again.status, again.error) == (ct.status.COMPLETED, None)
    assert names_of(again) == EXPECTED["study"]["names"]


@code_runs
def test_a_run_that_failed_goes_on(old: Old) -> None:
    """What was done is taken over; the cell that failed runs again, and fails again."""
    again = ct.get_result(
        ct.redispatch(EXPECTED["failing"]["id"], reuse_previous_results=True)(), wait=True, timeout=120
    )

    assert str(again.status) == "FAILED"
    assert "list index out of range" in str(again.error)
