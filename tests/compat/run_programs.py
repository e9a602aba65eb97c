"""Runs programs written for Covalent, one after the other in one process, and writes what each of them printed.

``python run_programs.py covalent|covalab OUT FOLDER...``: as they are, or with their import lines changed. It imports
neither package itself: the same file made `answers.json` with Covalent 0.240 (see there).
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import sys
import tempfile
import time
import types
import warnings
from pathlib import Path
from typing import Any

IMPORT = re.compile(r"^(\s*(?:import|from)\s+)covalent\b", re.MULTILINE)
PLUGINS = Path(__file__).resolve().parent / "programs" / "plugins"
LIMIT_SECONDS = 120


class OutOfTime(BaseException):
    """A program takes too long. No `Exception`: a client that tries again must not catch it."""


def out_of_time(*_: object) -> None:
    """End a program that hangs."""
    message = f"the program takes more than {LIMIT_SECONDS} s"
    raise OutOfTime(message)


def run(path: Path, folder: str) -> dict[str, Any]:
    """Run one program as `__main__`, in a folder; return what it printed, warned of and raised."""
    space = types.ModuleType("__main__")
    space.__file__ = str(path)
    sys.modules["__main__"] = space
    os.chdir(folder)
    printed, error, began = io.StringIO(), "", time.monotonic()
    with contextlib.redirect_stdout(printed), warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        signal.setitimer(signal.ITIMER_REAL, LIMIT_SECONDS, 1)
        try:
            exec(compile(path.read_text(), str(path), "exec"), space.__dict__)
        except (Exception, SystemExit, OutOfTime) as raised:  # noqa: BLE001 - whatever it is, it is the answer
            error = f"{type(raised).__name__}: {raised}"
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    return {
        "printed": printed.getvalue().splitlines(),
        "error": error,
        "warned": [f"{one.lineno}: {one.message}" for one in warned if one.filename == str(path)],
        "seconds": round(time.monotonic() - began, 2),
    }


def main(package: str, out: str, *folders: str) -> None:
    """Run every program of some folders."""
    signal.signal(signal.SIGALRM, out_of_time)
    answers, output = {}, Path(out).resolve()
    with tempfile.TemporaryDirectory() as temporary:
        if package == "covalab":
            plugins = Path(temporary, "plugins")
            plugins.mkdir()
            for plugin in PLUGINS.glob("*.py"):
                (plugins / plugin.name).write_text(IMPORT.sub(rf"\1{package}", plugin.read_text()))
            os.environ["COVALENT_EXECUTOR_DIR"] = str(plugins)
        else:
            os.environ["COVALENT_EXECUTOR_DIR"] = str(PLUGINS)
        for number, path in enumerate(sorted(path for name in folders for path in Path(name).resolve().glob("*.py"))):
            program = path
            if package == "covalab":
                program = Path(temporary, path.name)
                program.write_text(IMPORT.sub(rf"\1{package}", path.read_text()))
            folder = Path(temporary, f"{number}")
            folder.mkdir()
            answers[f"{path.parent.name}/{path.stem}"] = run(program, str(folder))
            output.write_text(json.dumps(answers, indent=1))  # each time: the next one may end this process
        os.chdir("/")


if __name__ == "__main__":
    main(*sys.argv[1:])
