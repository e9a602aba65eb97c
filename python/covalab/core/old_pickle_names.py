"""Renamed modules and classes: the names that stored pickles use, and where each is now.

Pickles name classes and functions by module path, and so does the byte code of pickled functions, so a stored lattice
outlives a module only through this table. Append to it whenever something that can be pickled moves; never remove a row
(`tests/system/test_old_data.py` reads folders that earlier versions wrote).
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Final

MODULES: Final[Mapping[str, str]] = {
    "covalab.core.source": "covalab.core.cell_source",
    "covalab.worker.foreign": "covalab.worker.foreign_functions",
    "covalab.core.described": "covalab.core.browser_views",
    "covalab.core.durations": "covalab.core.runtime_stats",
    "covalab.core.inputs": "covalab.core.argument_parts",
    "covalab.core.lowering": "covalab.core.batching",
    "covalab.core.places": "covalab.core.placement",
    "covalab.core.plain": "covalab.core.json_values",
    "covalab.core.progress": "covalab.core.graph_state",
    "covalab.core.soundness": "covalab.core.validation",
    "covalab.core.spans": "covalab.core.duration_text",
    "covalab.core.stand_ins": "covalab.core.missing_values",
    "covalab.worker.command": "covalab.worker.shell",
    "covalab.worker.hooks": "covalab.worker.hook_runner",
    "covalab.worker.live": "covalab.worker.reporting",
    "covalab.worker.step": "covalab.worker.batch_runner",
    "covalab.worker.turn": "covalab.worker.interrupt",
    "covalab.executors.ready": "covalab.executors.call_values",
    "covalab.sdk.trace": "covalab.sdk.building.trace",
    "covalab.sdk.bound": "covalab.sdk.building.bound",
    "covalab.sdk.unpacking": "covalab.sdk.building.unpacking",
    "covalab.sdk.ops": "covalab.sdk.building.ops",
    "covalab.sdk.electron": "covalab.sdk.building.electron",
    "covalab.sdk.lattice": "covalab.sdk.building.lattice",
    "covalab.sdk.lepton": "covalab.sdk.building.lepton",
    "covalab.sdk.leptons": "covalab.sdk.building.lepton_decorators",
    "covalab.sdk.parameters": "covalab.sdk.building.parameters",
    "covalab.sdk.options": "covalab.sdk.building.options",
    "covalab.sdk.execution": "covalab.sdk.building.executor_choice",
    "covalab.sdk.source": "covalab.sdk.code.source",
    "covalab.sdk.sublattice": "covalab.sdk.building.sublattice",
    "covalab.sdk.replay": "covalab.sdk.building.postprocess",
    "covalab.sdk.modules": "covalab.sdk.code.modules",
    "covalab.sdk.transport_graph": "covalab.sdk.building.transport_graph",
    "covalab.sdk.people": "covalab.sdk.building.interrupt_nodes",
    "covalab.sdk.deps": "covalab.sdk.hooks.deps",
    "covalab.sdk.hooks": "covalab.sdk.hooks.hook_set",
    "covalab.sdk.api": "covalab.sdk.dispatching.api",
    "covalab.sdk.awaiting": "covalab.sdk.dispatching.async_api",
    "covalab.sdk.redispatch": "covalab.sdk.dispatching.redispatch",
    "covalab.sdk.sameness": "covalab.sdk.dispatching.fingerprint",
    "covalab.sdk.moments": "covalab.sdk.timestamps",
    "covalab.sdk.local_dispatcher": "covalab.sdk.dispatching.local_dispatcher",
    "covalab.sdk.service": "covalab.sdk.dispatching.covalent_service",
    "covalab.sdk.result": "covalab.sdk.results.result",
    "covalab.sdk.readers": "covalab.sdk.results.readers",
    "covalab.sdk.result_manager": "covalab.sdk.results.result_manager",
    "covalab.sdk.handle": "covalab.sdk.results.handle",
    "covalab.sdk.status": "covalab.core.covalent_status",
    "covalab.sdk.transportable": "covalab.core.transportable",
    "covalab.sdk.live": "covalab.sdk.executions.interrupts",
    "covalab.sdk.tasks": "covalab.sdk.tasks.tasks",
    "covalab.sdk.task_records": "covalab.sdk.tasks.records",
    "covalab.sdk.task_logging": "covalab.sdk.tasks.task_logging",
    "covalab.jupyter.extension": "covalab.jupyter.server.extension",
    "covalab.jupyter.routes": "covalab.jupyter.server.routes",
    "covalab.jupyter.relay": "covalab.jupyter.server.relay",
    "covalab.jupyter.watch": "covalab.jupyter.server.event_bridge",
    "covalab.jupyter.warming": "covalab.jupyter.server.prewarm",
    "covalab.jupyter.flow": "covalab.jupyter.cells.dataflow",
    "covalab.jupyter.scopes": "covalab.jupyter.cells.scopes",
    "covalab.jupyter.changes": "covalab.jupyter.cells.mutation",
    "covalab.jupyter.cells": "covalab.jupyter.cells.cell",
    "covalab.jupyter.compiling": "covalab.jupyter.cells.compiling",
    "covalab.jupyter.ipython_lines": "covalab.jupyter.cells.ipython_lines",
    "covalab.jupyter.heading": "covalab.jupyter.cells.header",
    "covalab.jupyter.magics": "covalab.jupyter.notebook.magics",
    "covalab.jupyter.lines": "covalab.jupyter.notebook.magic_helpers",
    "covalab.jupyter.session": "covalab.jupyter.notebook.session",
    "covalab.jupyter.wiring": "covalab.jupyter.notebook.wiring",
    "covalab.jupyter.shown": "covalab.jupyter.notebook.display",
    "covalab.jupyter.people": "covalab.jupyter.notebook.interrupt_magics",
}
"""Old module path to new one."""

NAMES: Final[Mapping[tuple[str, str], str]] = {
    ("covalab.core.model", "Record"): "DispatchRecord",
    ("covalab.core.stand_ins", "keepable"): "storable_or_missing",
    ("covalab.core.inputs", "Part"): "ArgumentPart",
    ("covalab.core.stand_ins", "Unset"): "Missing",
    ("covalab.worker.live", "Voice"): "Reporter",
    ("covalab.sdk.execution", "Execution"): "ExecutorChoice",
    ("covalab.sdk.moments", "Moment"): "Timestamp",
    ("covalab.sdk.moments", "moment"): "timestamp",
}
"""Old module path and old name to the name in the new module, where that changed, too."""


SPLIT: Final[Mapping[tuple[str, str], str]] = {
    ("covalab.core.model", "TriggerState"): "covalab.core.trigger_states",
    ("covalab.namespace.standard_library", "weak_reference"): "covalab.namespace.weak_references",
    ("covalab.sdk.live", "Execution"): "covalab.sdk.executions.execution",
    ("covalab.sdk.live", "get_execution"): "covalab.sdk.results.fetch",
    ("covalab.sdk.result", "RecordedLattice"): "covalab.sdk.results.stored_code",
    ("covalab.sdk.tasks", "async_enqueue"): "covalab.sdk.dispatching.enqueue",
    ("covalab.sdk.tasks", "enqueue"): "covalab.sdk.dispatching.enqueue",
}
"""Old module path and old name to the new module, where that is not the one that `MODULES` names."""


def current_name(module: str, name: str) -> tuple[str, str]:
    """Return where a global that an earlier version pickled is now.

    Examples
    --------
    >>> current_name("covalab.core.inputs", "Part")
    ('covalab.core.argument_parts', 'ArgumentPart')
    >>> current_name("numpy", "ndarray")
    ('numpy', 'ndarray')
    """
    new_module = SPLIT.get((module, name)) or MODULES.get(module, module)
    return new_module, NAMES.get((module, name), name)


class _OldModules(MetaPathFinder, Loader):
    """Finds modules by the paths of earlier versions, for byte code that imports them when it runs."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in MODULES else None

    def exec_module(self, module: ModuleType) -> None:
        old = module.__name__
        if any(key[0] == old for key in (*NAMES, *SPLIT)):

            def find(name: str) -> Any:
                home, current = current_name(old, name)
                return getattr(importlib.import_module(home), current)

            module.__dict__["__getattr__"] = find
        else:
            sys.modules[old] = importlib.import_module(MODULES[old])


def install() -> None:
    """Make the old paths importable, after all that can be imported otherwise."""
    if not any(isinstance(finder, _OldModules) for finder in sys.meta_path):
        sys.meta_path.append(_OldModules())
