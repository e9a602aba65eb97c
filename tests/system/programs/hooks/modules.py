"""Use a module that the workers cannot import, as `deps_module` allows, and one that lies beside the program."""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

import covalab as ct


def made(name: str, source: str) -> ModuleType:
    """Write a module, import it, and take its file away."""
    folder = Path(tempfile.mkdtemp())
    (folder / f"{name}.py").write_text(source)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(folder))
        (folder / f"{name}.py").unlink()


SOURCE = "class Point:\n    def __init__(self, x): self.x = x\ndef twice(p): return Point(p.x * 2)\n"


def main() -> None:
    """Check all forms of `deps_module`, the class of the value, and the error without it."""
    helper = made("helper_without_file", SOURCE)
    forms: list[Any] = [helper, "helper_without_file", ct.DepsModule(helper), [helper]]
    for form in forms:
        it = ct.dispatch_sync(ct.lattice(ct.electron(helper.twice, deps_module=form)))(helper.Point(2))
        assert it.status == ct.status.COMPLETED, it.error
        assert it.result.x == 4

    result = ct.dispatch_sync(ct.lattice(ct.electron(helper.twice)))(1)
    assert result.status == ct.status.FAILED
    assert "helper_without_file" in result.get_node_result(0)["error"]
