"""The documents that the project was made from, run as they are written.

Each page of the folder `seeds` has the snippets of one of them in its order, and says after each what is true. It is
run by a script, where no loop runs, and in a kernel, where one always does; and what it reads is read once more after
the dispatcher was killed.
"""

from __future__ import annotations

import ast
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
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


IMPORTS = {
    "from omniq import AsyncOmniQ": "from covalab.tasks import AsyncOmniQ",
    "from omniq.models import TaskStatus": "from covalab.tasks import TaskStatus",
    "from omniq.logging import bind_task": "from covalab.tasks import bind_task",
}
"""What a program written for OmniQ changes, and nothing else."""


def runnable(block: str, mark: str) -> str:
    """Return a block as it is run: of a verbatim one the imports are changed; one that returns becomes a function."""
    if mark:
        for theirs, ours in IMPORTS.items():
            block = block.replace(theirs + "\n", ours + "\n")
    if any(isinstance(node, ast.Return) for statement in ast.parse(block).body for node in own_nodes(statement)):
        return f"async def snippet():\n{textwrap.indent(block, '    ')}\n\nawait snippet()\n"
    return block


def own_nodes(statement: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a statement that are in no function of its own."""
    yield statement
    if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        for child in ast.iter_child_nodes(statement):
            yield from own_nodes(child)


def blocks_of(page: Path) -> tuple[list[str], list[str], list[str]]:
    """Return the blocks of code of a page, those that set up and those that read, and what the latter print."""
    before, heading, after = page.read_text().partition("\n## Reading\n")
    assert heading, f"{page} has no part that reads"
    code = re.compile(r"^```python( verbatim)?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
    first, second = ([runnable(block, mark) for mark, block in code.findall(part)] for part in (before, after))
    texts = re.findall(r"^```text\n(.*?)^```$", after, re.DOTALL | re.MULTILINE)
    return first, second, [line for text in texts for line in text.splitlines()]


@pytest.mark.sampled(2)
@pytest.mark.parametrize("setting", [in_a_script, in_a_kernel])
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_seed_does_what_it_says(page: Path, setting: Any, own: Client, tmp_path: Path) -> None:
    """Every block of the page holds, and what it read before the dispatcher was killed it reads afterwards."""
    setting_up, reading, printed = blocks_of(page)

    with setting(tmp_path) as run:
        run(setting_up)
        told = run(reading)
        killed = own.status().pid
        os.kill(killed, signal.SIGKILL)
        again = run(reading)

    assert told.strip()
    assert [line for line in printed if line not in told] == []
    assert again == told
    assert own.status().pid != killed
