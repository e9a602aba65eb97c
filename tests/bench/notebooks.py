"""Notebooks run from the command line, beside papermill: from the command to the written notebook.

papermill is measured where it is installed: ``--peer papermill=/path/to/python`` (an environment with papermill and
ipykernel); without it our own time is printed alone.
"""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

LIGHT = 40
_KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
_CLI = "from covalab.cli import main; main()"
_SLOW = "import time\ntime.sleep(5)"


def light(folder: Path, first: int = 0) -> Path:
    """Write a notebook of forty cells that cost nothing, each with its own output, and all other ones by `first`."""
    cells = [
        f"total = {first}",
        *(f"part_{n} = {n}\ntotal += part_{n}\nprint(total)" for n in range(LIGHT - 2)),
        "total",
    ]
    return _write(folder / "light.ipynb", cells)


def slow_then(folder: Path, last: str) -> Path:
    """Write a notebook whose first cell takes five seconds; `last` is the text of its last one."""
    return _write(folder / "slow.ipynb", [_SLOW, "rows = [1, 2, 3]", "total = sum(rows)\nprint(total)", last])


def independent(folder: Path) -> Path:
    """Write a notebook of four independent cells that take five seconds each."""
    cells = [f"time.sleep(5)\npart_{n} = {n}" for n in range(4)]
    return _write(folder / "independent.ipynb", ["import time", *cells, "part_0 + part_1 + part_2 + part_3"])


def ours(notebook: Path, *options: str) -> None:
    """Run a notebook by `covalab run`."""
    _run(sys.executable, "-c", _CLI, "run", str(notebook), "-q", "-o", str(_out(notebook)), *options)


def papermill(notebook: Path, python: str) -> None:
    """Run a notebook by papermill."""
    _run(python, "-m", "papermill", str(notebook), str(_out(notebook)), "--no-progress-bar")


def _run(*command: str) -> None:
    """Run a command as it is installed by pip: its modules are compiled. A checkout's need not be."""
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(command, check=True, capture_output=True, env={**variables, "PYTHONPYCACHEPREFIX": _compiled()})


@functools.cache
def _compiled() -> str:
    """Return the folder of compiled modules of these commands, both ours and papermill's."""
    folder = tempfile.mkdtemp(prefix="covalab-bench-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _out(notebook: Path) -> Path:
    return notebook.with_name("out.ipynb")


def _write(path: Path, cells: list[str]) -> Path:
    made = new_notebook(cells=[new_code_cell(text) for text in cells], metadata=_KERNEL)
    nbformat.write(made, path)
    return path
