"""Examples in docstrings are true."""

from __future__ import annotations

import doctest
import importlib

import pytest


@pytest.mark.parametrize(
    "module",
    [
        "covalab.core.assemble",
        "covalab.core.schedule",
        "covalab.core.duration_text",
        "covalab.core.labels",
        "covalab.core.run_log",
        "covalab.sdk.building.electron",
        "covalab.sdk.building.lattice",
        "covalab.sdk.building.parameters",
        "covalab.sdk.code.source",
        "covalab.sdk.executions.aio",
        "covalab.core.covalent_status",
        "covalab.core.placement",
        "covalab.core.transportable",
        "covalab.sdk.results.inputs",
        "covalab.sdk.tasks.tasks",
        "covalab.view.dot",
        "covalab.sdk.tasks.records",
        "covalab.sdk.tasks.task_logging",
    ],
)
def test_the_examples_run(module: str) -> None:
    """Each module has examples, and they print what they say."""
    found = doctest.testmod(importlib.import_module(module))

    assert found.attempted > 0
    assert found.failed == 0
