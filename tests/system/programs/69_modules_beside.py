"""Edit a module beside the notebook and dispatch again: the workers run the new code (in Covalent, the old)."""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path

import covalab as ct

SOURCE = """
from dataclasses import dataclass

@dataclass
class Point:
    x: int

def scaled(point):
    assert isinstance(point, Point)
    return Point(point.x * FACTOR)
"""


def main() -> None:
    """The same lattice, dispatched before and after an edit; its values are of the class that is imported here."""
    folder = Path(tempfile.mkdtemp())
    file = folder / "program_69_helper.py"
    file.write_text(f"FACTOR = 2\n{SOURCE}")
    sys.path.insert(0, str(folder))
    try:
        importlib.invalidate_caches()
        helper = importlib.import_module("program_69_helper")

        @ct.electron
        def task(x: int) -> object:
            return helper.scaled(helper.Point(x))

        @ct.electron
        def again(point: object) -> object:
            return helper.scaled(point)

        workflow = ct.lattice(lambda x: again(task(x)))
        found = []
        for factor in (2, 3000):
            file.write_text(f"FACTOR = {factor}\n{SOURCE}")
            importlib.reload(helper)
            result = ct.dispatch_sync(workflow)(1)
            assert result.status == ct.status.COMPLETED, result.error
            assert isinstance(result.result, helper.Point)
            found.append(result.result.x)
    finally:
        sys.path.remove(str(folder))

    assert found == [4, 9_000_000]
