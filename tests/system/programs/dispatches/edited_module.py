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
    """Dispatch a lattice before and after an edit; check that its values are of the class imported here."""
    folder = Path(tempfile.mkdtemp())
    file = folder / "helper_that_is_edited.py"
    file.write_text(f"FACTOR = 2\n{SOURCE}")
    sys.path.insert(0, str(folder))
    try:
        importlib.invalidate_caches()
        helper = importlib.import_module("helper_that_is_edited")

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
