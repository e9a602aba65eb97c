"""The dispatcher from a program: started, asked about, stopped, with nothing lost."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.system.tasks import sleeping

import covalab as ct
from covalab.client import Client


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a data folder that nobody has used, with a configuration of its own."""
    monkeypatch.setenv("COVALAB_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("COVALAB_CONFIG", str(tmp_path / "covalab.toml"))
    return tmp_path / "data"


def test_start_running_stop(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each returns when it is true, may be repeated, and says what it did unless it is to be quiet."""
    assert not ct.is_covalent_running()
    ct.covalent_start()
    ct.covalent_start()
    assert ct.is_covalent_running()
    ct.covalent_start(quiet=True)
    ct.covalent_stop()
    assert not ct.is_covalent_running()
    ct.covalent_stop()
    ct.covalent_stop(quiet=True)

    said = capsys.readouterr().out.splitlines()
    assert len(said) == 4
    assert said[0].startswith("The dispatcher is running: process ")
    assert said[1].startswith("The dispatcher was already running: process ")
    assert said[2:] == [f"The dispatcher of {folder} has stopped.", f"No dispatcher is running for {folder}."]


def test_options_of_the_start_are_written_down(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that mean something; the others warn. A running dispatcher takes them up when it starts again."""
    monkeypatch.delenv("COVALAB_WORKERS")
    ct.covalent_start(workers=1, mem_per_worker="3 GB", no_cluster=True)
    try:
        assert ct.get_config("dask.num_workers") == 1
        assert ct.get_config("dask.mem_per_worker") == "3 GB"
        assert ct.get_config("sdk.no_cluster") == "true"
        capsys.readouterr()
        with pytest.warns(UserWarning, match="`port` changes nothing: .*socket"):
            ct.covalent_start(port=48009, workers=2)
        assert "covalab restart" in capsys.readouterr().out
    finally:
        ct.covalent_stop(quiet=True)


def test_stopping_keeps_what_is_unfinished(own: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It says how much; at the next start it goes on, where Covalent would have cancelled it."""
    run = ct.dispatch(ct.lattice(sleeping))(0.3, str(tmp_path / "pid"))
    ct.covalent_stop()

    assert "1 unfinished dispatches go on at the next start" in capsys.readouterr().out
    assert ct.get_result(run, wait=True).result == "slept"
