"""Reader of a run: a process of its own that has what a result gives, forked from one that has loaded the libraries."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import runpy
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_COLLECT = Path(__file__).parent / "collect.py"
_PRELOADED = (
    "IPython",
    "ipykernel.zmqshell",
    "covalab",
    "cloudpickle",
    "numpy",
    "pandas",
    "matplotlib.pyplot",
    "rich.console",
)
_STUCK = 120.0


def read_run(run: str, place: Path, path: Path) -> Any:
    """Return the names of a run as a notebook in a folder has them that reads its result."""
    path.unlink(missing_ok=True)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([*_PRELOADED])
    process = context.Process(target=_read, args=(run, str(place), str(path), dict(os.environ)))
    process.start()
    process.join(_STUCK)
    if process.is_alive():
        process.kill()
    assert process.exitcode == 0, f"the reader of {run} ended with {process.exitcode}"
    return json.loads(path.read_text())


class OutStream(io.StringIO):
    """Stream of the reader, called as a kernel's is: a handler of a logger has it."""


def _read(run: str, place: str, path: str, variables: Mapping[str, str]) -> None:
    from IPython.core.interactiveshell import InteractiveShell

    os.environ.clear()
    os.environ.update(variables)
    os.chdir(place)  # where modules are that the cells wrote
    sys.path.insert(0, "")
    sys.stdout, sys.stderr = OutStream(), OutStream()
    shell = InteractiveShell.instance()
    collector = runpy.run_path(str(_COLLECT))
    collector["start"](shell)
    collector["collect"](shell, path, run, ())
