"""`covalab doctor` and `covalab backup`, on real data folders."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.waiting import until

import covalab as ct
from covalab.cli import main
from covalab.client import Client, connect
from covalab.client.launcher import _is_locked
from covalab.store.pages import PAGE_SIZE, damaged_pages


def covalab(*args: str) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(main, args)


@ct.electron
def long_text(x: int) -> list[str]:
    """Return a value that is a file."""
    return [str(x)] * 100_000


@ct.lattice
def texts(x: int) -> object:
    """One node."""
    return long_text(x)


def test_a_backup_can_be_made_and_used_while_work_runs(
    own: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a data folder with all that had ended, private, and the second takes only what is new."""
    runs = [ct.dispatch(texts)(x) for x in range(3)]
    for run in runs:
        ct.get_result(run, wait=True, timeout=120)
    copy = tmp_path / "copy"
    first = covalab("backup", str(copy))
    assert (first.exit_code, "3 dispatches" in first.output) == (0, True), first.output
    more = ct.dispatch(texts)(7)
    ct.get_result(more, wait=True, timeout=120)
    second = covalab("backup", str(copy))
    assert (second.exit_code, "4 dispatches" in second.output) == (0, True), second.output
    assert damaged_pages(copy / "covalab.db") == []
    modes = {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in (copy, *copy.rglob("*"))}
    assert modes == {0}

    monkeypatch.setenv("COVALAB_DATA_DIR", str(copy))
    restored = connect(data_dir=copy)
    try:
        for run, x in zip([*runs, more], [0, 1, 2, 7], strict=True):
            assert ct.get_result(run).result == [str(x)] * 100_000
        refused = covalab("backup", str(own.data_dir))
        assert refused.exit_code == 1
        assert "a folder of its own" in refused.output
    finally:
        restored.stop()


def test_doctor_finds_what_is_wrong_and_mends_what_is_safe(own: Client) -> None:
    """A healthy folder is ok; modes, damaged values and damaged pages are named, and repaired where nothing is lost."""
    run = ct.dispatch(texts)(1)
    ct.get_result(run, wait=True, timeout=120)
    healthy = covalab("doctor", "--values")
    assert (healthy.exit_code, "BAD" in healthy.output) == (0, False), healthy.output
    value = own.node(run, 0).value
    assert value is not None
    assert value.digest is not None
    path = own.blobs.path(value.digest)
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)

    ill = covalab("doctor", "--values")
    assert ill.exit_code == 1
    assert f"e.g. {path}" in ill.output
    assert f"of dispatch {run}" in ill.output
    mended = covalab("doctor", "--repair")
    assert "their modes are set now" in mended.output
    assert f"value {value.digest[:12]}… of dispatch {run} is not there" in mended.output

    own.stop()
    database = own.data_dir / "covalab.db"
    until(lambda: not _is_locked(own.data_dir))
    with database.open("r+b") as file:
        file.seek(5 * PAGE_SIZE + 17)
        file.write(b"xyz")
    assert "1 pages" in covalab("doctor").output
    assert damaged_pages(database) == [6]
    mended = covalab("doctor", "--repair")
    assert "every page of the database is whole" in mended.output
    assert "kept as it was" in mended.output
    assert [it.dispatch_id for it in ct.list_dispatches(count=10)] == [run]


def test_doctor_of_a_folder_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is made, and nothing is wrong."""
    monkeypatch.setenv("COVALAB_DATA_DIR", str(tmp_path / "none"))
    shown = covalab("doctor")

    assert shown.exit_code == 0
    assert not (tmp_path / "none").exists()
