"""The documents that the project was made from, run as they are written.

Each page of the folder `seeds` has the snippets of one of them in its order, and says after each what is true. It is
run by a script, where no loop runs, and in a kernel, where one always does; and what it reads is read once more after
the dispatcher was killed.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.jupyter.kernels import a_kernel

from covalab.client import Client

FOLDER = Path(__file__).parent / "seeds"
PAGES = sorted(FOLDER.glob("*.md"))

Run = Callable[[list[str]], str]
"""Runs blocks of code one after another, knows what the ones before them made, and returns what they print."""


@contextmanager
def in_a_script(folder: Path) -> Iterator[Run]:
    """Run in a new process each time: only what JSON can hold is left for the next."""
    names: dict[str, Any] = {}

    def run(blocks: list[str]) -> str:
        given, left = json.dumps({"blocks": blocks, "names": names}), folder / "names.json"
        command = [sys.executable, "-W", "error", str(FOLDER / "as_script.py"), str(left)]
        ran = subprocess.run(command, input=given, capture_output=True, text=True, cwd=folder, check=False, timeout=240)
        assert ran.returncode == 0, ran.stderr
        names.update(json.loads(left.read_text()))
        return ran.stdout

    yield run


@contextmanager
def in_a_kernel(folder: Path) -> Iterator[Run]:
    """Run as cells of one notebook."""
    with a_kernel() as kernel:
        kernel.succeed(f"import os, warnings\nos.chdir({str(folder)!r})\nwarnings.simplefilter('error')")
        yield lambda blocks: "".join(kernel.succeed(block).printed for block in blocks)


def blocks_of(page: Path) -> tuple[list[str], list[str]]:
    """Return the blocks of code of a page: those that set up, and those that read."""
    before, heading, after = page.read_text().partition("\n## Reading\n")
    assert heading, f"{page} has no part that reads"
    first, second = (re.findall(r"^```python\n(.*?)^```$", part, re.DOTALL | re.MULTILINE) for part in (before, after))
    return first, second


@pytest.mark.timeout(120)
@pytest.mark.parametrize("setting", [in_a_script, in_a_kernel])
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_seed_does_what_it_says(page: Path, setting: Any, own: Client, tmp_path: Path) -> None:
    """Every block of the page holds, and what it read before the dispatcher was killed it reads afterwards."""
    setting_up, reading = blocks_of(page)

    with setting(tmp_path) as run:
        run(setting_up)
        told = run(reading)
        killed = own.status().pid
        os.kill(killed, signal.SIGKILL)
        again = run(reading)

    assert told.strip()
    assert again == told
    assert own.status().pid != killed
