"""Examples in docstrings are true."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import covalab

_PACKAGE = Path(covalab.__file__).parent


def test_every_example_prints_what_it_says(tmp_path: Path) -> None:
    """In a process of their own: some set up what only a task process or a kernel has."""
    files = sorted(str(path) for path in _PACKAGE.rglob("*.py") if ">>> " in path.read_text())
    assert len(files) > 100, "they are found where the package is"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-o", "addopts="]
    done = subprocess.run(
        [*command, "--doctest-modules", "--rootdir", str(tmp_path), *files],
        cwd=tmp_path,
        env=os.environ | {"COVALAB_DATA_DIR": str(tmp_path / "data")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-5000:]
