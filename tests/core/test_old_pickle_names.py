"""Stored pickles find what has moved since they were written."""

from __future__ import annotations

import importlib
import pickle

import pytest

import covalab as ct
from covalab.core.codec import unpickle
from covalab.core.old_pickle_names import MODULES, NAMES, SPLIT, current_name

PUBLIC = [
    ("covalab.sdk.live", "Execution"),
    ("covalab.sdk.live", "async_continue_with"),
    ("covalab.sdk.live", "async_intervene"),
    ("covalab.sdk.live", "continue_with"),
    ("covalab.sdk.live", "get_execution"),
    ("covalab.sdk.live", "get_interrupts"),
    ("covalab.sdk.live", "intervene"),
    ("covalab.sdk.live", "pause"),
    ("covalab.sdk.live", "resume"),
    ("covalab.sdk.result", "Result"),
    ("covalab.sdk.result_manager", "get_result_manager"),
    ("covalab.sdk.task_records", "TaskError"),
    ("covalab.sdk.task_records", "TaskStatus"),
    ("covalab.sdk.tasks", "async_enqueue"),
    ("covalab.sdk.tasks", "async_get_task_result"),
    ("covalab.sdk.tasks", "async_list_tasks"),
    ("covalab.sdk.tasks", "enqueue"),
    ("covalab.sdk.tasks", "get_task_result"),
    ("covalab.sdk.tasks", "summary"),
    ("covalab.sdk.transportable", "TransportableObject"),
]


@pytest.mark.parametrize(("module", "name"), PUBLIC, ids=lambda it: it.rpartition(".")[2])
def test_a_public_name_is_found_under_its_old_path(module: str, name: str) -> None:
    """A function that was pickled by reference, as cloudpickle does with what a task calls, is the one of today."""
    by_reference = b"c" + f"{module}\n{name}\n".encode() + pickle.STOP

    assert unpickle(by_reference) is getattr(ct, name)


def test_every_row_leads_somewhere() -> None:
    """Each module that a row names can be imported, and has the names that moved there by themselves."""
    for old in {*MODULES, *(module for module, _ in (*NAMES, *SPLIT))}:
        importlib.import_module(current_name(old, "")[0])
    for old, name in (*NAMES, *SPLIT):
        module, now = current_name(old, name)
        assert hasattr(importlib.import_module(module), now), f"{old}.{name} -> {module}.{now}"
