"""Examples in docstrings are true."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

import covalab

_PACKAGE = Path(covalab.__file__).parent
_MODULES = [
    ".".join(("covalab", *path.relative_to(_PACKAGE).with_suffix("").parts)).removesuffix(".__init__")
    for path in sorted(_PACKAGE.rglob("*.py"))
    if ">>> " in path.read_text()
]


def test_there_are_examples() -> None:
    """They are found where the package is."""
    assert {"covalab.core.labels", "covalab.sdk.building.electron"} < {*_MODULES}


@pytest.mark.parametrize("module", _MODULES)
def test_the_examples_run(module: str) -> None:
    """Each prints what it says."""
    found = doctest.testmod(importlib.import_module(module), optionflags=doctest.ELLIPSIS)

    assert found.failed == 0
