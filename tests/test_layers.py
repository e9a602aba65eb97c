"""The picture in python/ARCHITECTURE.md is how the code is cut."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_imports_respect_the_layers() -> None:
    """Every import points down, and nobody loads what they must not; `lint-imports` says which chain does."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert ran.returncode == 0, ran.stdout + ran.stderr
