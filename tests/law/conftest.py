"""Fixture of the law: a folder for plain runs, which all ways are compared with."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def plain_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the plain runs."""
    return tmp_path_factory.mktemp("plain")
