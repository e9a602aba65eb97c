"""Fixtures for every test: a data folder that is not the user's, and real dispatchers in it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from covalab.client import Client, connect


@pytest.fixture(scope="session", autouse=True)
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Point the whole session at a data folder of its own."""
    folder = tmp_path_factory.mktemp("covalab-data")
    before = os.environ.get("COVALAB_DATA_DIR")
    os.environ["COVALAB_DATA_DIR"] = str(folder)
    os.environ["COVALAB_CONFIG"] = str(folder / "covalab.toml")  # never the user's
    os.environ["COVALAB_WORKERS"] = "2"
    os.environ["COVALAB_IDLE_SECONDS"] = "600"  # if a run is killed, its dispatchers end by themselves
    yield folder
    Client(folder, start=False).stop()
    if before is None:
        del os.environ["COVALAB_DATA_DIR"]
    else:
        os.environ["COVALAB_DATA_DIR"] = before


@pytest.fixture
def live(data_dir: Path) -> Client:
    """Return a client of the session's dispatcher, shared by tests that do not break it."""
    return connect(data_dir=data_dir)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """Return a client of a dispatcher that this test alone uses, and may kill."""
    folder = tmp_path / "data"
    monkeypatch.setenv("COVALAB_DATA_DIR", str(folder))
    client = connect(data_dir=folder)
    yield client
    client.stop()
