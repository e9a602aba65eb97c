"""covalab: notebook cells as background tasks, with Covalent's API.

``import covalab as ct``. Importing loads almost nothing, reads no configuration and writes no file; each name loads
what it needs when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from covalab._version import __version__ as __version__

if TYPE_CHECKING:
    from importlib import metadata

    from covalab import executor, tasks
    from covalab import files as fs
    from covalab.core.covalent_status import status
    from covalab.core.errors import (
        CovalabError,
        DispatcherUnavailable,
        ExecutorNotFound,
        GraphError,
        MissingLatticeRecordError,
        NotTrusted,
        SerializationError,
        TaskFailed,
    )
    from covalab.core.transportable import TransportableObject
    from covalab.files import strategies as fs_strategies
    from covalab.jupyter.runs.run import resume_notebook, run_notebook
    from covalab.sdk.building import lepton_decorators as leptons
    from covalab.sdk.building.electron import electron, wait
    from covalab.sdk.building.interrupt_nodes import (
        intervention_point,
        pause_for,
    )
    from covalab.sdk.building.lattice import Lattice, lattice
    from covalab.sdk.building.lepton import Lepton
    from covalab.sdk.configuration import get_config, reload_config, set_config
    from covalab.sdk.connection import connect
    from covalab.sdk.dispatching.api import cancel, dispatch, dispatch_sync, get_result, start, stop_triggers
    from covalab.sdk.dispatching.async_api import async_dispatch_sync, async_get_result
    from covalab.sdk.dispatching.covalent_service import covalent_start, covalent_stop, is_covalent_running
    from covalab.sdk.dispatching.enqueue import async_enqueue, enqueue
    from covalab.sdk.dispatching.redispatch import redispatch
    from covalab.sdk.dispatching.tags import tag
    from covalab.sdk.executions.execution import Execution
    from covalab.sdk.executions.interrupts import (
        async_continue_with,
        async_intervene,
        continue_with,
        get_interrupts,
        intervene,
        pause,
        resume,
    )
    from covalab.sdk.hooks.deps import DepsBash, DepsCall, DepsModule, DepsPip
    from covalab.sdk.results.archives import export_dispatch, import_dispatch
    from covalab.sdk.results.comparing import compare
    from covalab.sdk.results.fetch import get_execution
    from covalab.sdk.results.notebooks import export_notebook
    from covalab.sdk.results.result import Result
    from covalab.sdk.results.result_manager import get_result_manager
    from covalab.sdk.tasks import task_logging as logging
    from covalab.sdk.tasks.records import TaskError, TaskStatus
    from covalab.sdk.tasks.tasks import (
        async_get_task,
        async_get_task_result,
        async_list_dispatches,
        async_list_tasks,
        async_purge_results,
        async_summary,
        get_task,
        get_task_result,
        list_dispatches,
        list_tasks,
        purge_results,
        summary,
    )
    from covalab.worker.context import get_context
    from covalab.worker.progress import set_progress
    from covalab.worker.reporting import (
        append_state,
        del_state,
        get_interventions,
        mark_intervention_consumed,
        put_into_stream,
        set_final_result,
        set_state,
    )

__all__ = [
    "CovalabError",
    "DepsBash",
    "DepsCall",
    "DepsModule",
    "DepsPip",
    "DispatcherUnavailable",
    "Execution",
    "ExecutorNotFound",
    "GraphError",
    "Lattice",
    "Lepton",
    "MissingLatticeRecordError",
    "NotTrusted",
    "Result",
    "SerializationError",
    "TaskError",
    "TaskFailed",
    "TaskStatus",
    "TransportableObject",
    "append_state",
    "async_continue_with",
    "async_dispatch_sync",
    "async_enqueue",
    "async_get_result",
    "async_get_task",
    "async_get_task_result",
    "async_intervene",
    "async_list_dispatches",
    "async_list_tasks",
    "async_purge_results",
    "async_summary",
    "cancel",
    "compare",
    "connect",
    "continue_with",
    "covalent_start",
    "covalent_stop",
    "del_state",
    "dispatch",
    "dispatch_sync",
    "electron",
    "enqueue",
    "executor",
    "export_dispatch",
    "export_notebook",
    "fs",
    "fs_strategies",
    "get_config",
    "get_context",
    "get_execution",
    "get_interrupts",
    "get_interventions",
    "get_result",
    "get_result_manager",
    "get_task",
    "get_task_result",
    "import_dispatch",
    "intervene",
    "intervention_point",
    "is_covalent_running",
    "lattice",
    "leptons",
    "list_dispatches",
    "list_tasks",
    "logging",
    "mark_intervention_consumed",
    "metadata",
    "pause",
    "pause_for",
    "purge_results",
    "put_into_stream",
    "redispatch",
    "reload_config",
    "resume",
    "resume_notebook",
    "run_notebook",
    "set_config",
    "set_final_result",
    "set_progress",
    "set_state",
    "start",
    "status",
    "stop_triggers",
    "summary",
    "tag",
    "tasks",
    "triggers",
    "wait",
]

_HOMES = {
    "covalab.core.errors": (
        "CovalabError",
        "DispatcherUnavailable",
        "ExecutorNotFound",
        "GraphError",
        "MissingLatticeRecordError",
        "NotTrusted",
        "SerializationError",
        "TaskFailed",
    ),
    "covalab.sdk.dispatching.api": ("cancel", "dispatch", "dispatch_sync", "get_result", "start", "stop_triggers"),
    "covalab.sdk.dispatching.async_api": ("async_dispatch_sync", "async_get_result"),
    "covalab.sdk.connection": ("connect",),
    "covalab.sdk.configuration": ("get_config", "reload_config", "set_config"),
    "covalab.sdk.hooks.deps": ("DepsBash", "DepsCall", "DepsModule", "DepsPip"),
    "covalab.sdk.building.electron": ("electron", "wait"),
    "covalab.sdk.building.lattice": ("Lattice", "lattice"),
    "covalab.sdk.building.lepton": ("Lepton",),
    "covalab.sdk.dispatching.enqueue": ("async_enqueue", "enqueue"),
    "covalab.sdk.dispatching.redispatch": ("redispatch",),
    "covalab.sdk.dispatching.tags": ("tag",),
    "covalab.sdk.results.fetch": ("get_execution",),
    "covalab.sdk.results.notebooks": ("export_notebook",),
    "covalab.sdk.results.result": ("Result",),
    "covalab.jupyter.runs.run": ("resume_notebook", "run_notebook"),
    "covalab.sdk.results.result_manager": ("get_result_manager",),
    "covalab.sdk.dispatching.covalent_service": ("covalent_start", "covalent_stop", "is_covalent_running"),
    "covalab.core.covalent_status": ("status",),
    "covalab.sdk.tasks.records": ("TaskError", "TaskStatus"),
    "covalab.sdk.tasks.tasks": (
        "async_get_task",
        "async_get_task_result",
        "async_list_dispatches",
        "async_list_tasks",
        "async_purge_results",
        "async_summary",
        "get_task",
        "get_task_result",
        "list_dispatches",
        "list_tasks",
        "purge_results",
        "summary",
    ),
    "covalab.core.transportable": ("TransportableObject",),
    "covalab.sdk.executions.execution": ("Execution",),
    "covalab.sdk.executions.interrupts": (
        "async_continue_with",
        "async_intervene",
        "continue_with",
        "get_interrupts",
        "intervene",
        "pause",
        "resume",
    ),
    "covalab.sdk.building.interrupt_nodes": (
        "intervention_point",
        "pause_for",
    ),
    "covalab.worker.context": ("get_context",),
    "covalab.worker.progress": ("set_progress",),
    "covalab.sdk.results.archives": ("export_dispatch", "import_dispatch"),
    "covalab.sdk.results.comparing": ("compare",),
    "covalab.worker.reporting": (
        "append_state",
        "del_state",
        "get_interventions",
        "mark_intervention_consumed",
        "put_into_stream",
        "set_final_result",
        "set_state",
    ),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}
_MODULES = {
    "executor": "covalab.executor",
    "fs": "covalab.files",
    "fs_strategies": "covalab.files.strategies",
    "leptons": "covalab.sdk.building.lepton_decorators",
    "logging": "covalab.sdk.tasks.task_logging",
    "metadata": "importlib.metadata",  # in Covalent by accident, and used since
    "tasks": "covalab.tasks",
    "triggers": "covalab.triggers",
}
"""Public names that are modules."""


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        found = importlib.import_module(_MODULES[name])
    elif name in _HOME:
        found = getattr(importlib.import_module(_HOME[name]), name)
    else:
        message = f"module 'covalab' has no attribute {name!r}"
        raise AttributeError(message)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return __all__


def load_ipython_extension(ipython: Any) -> None:
    """Load the magics: ``%load_ext covalab``."""
    from covalab.jupyter.notebook.magics import load_ipython_extension as load  # noqa: PLC0415 - only where there is IPython
    from covalab.jupyter.runs.magics import RunMagics  # noqa: PLC0415

    load(ipython)
    ipython.register_magics(RunMagics)


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    """Tell JupyterLab where the front end lies."""
    return [{"src": "labextension", "dest": "covalab"}]


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    """Tell the Jupyter server what to load."""
    from covalab.jupyter.server.extension import CovalabApp  # noqa: PLC0415 - only in a Jupyter server

    return [{"module": "covalab", "app": CovalabApp}]
