"""Table of the modules below `covalent`: which path has which names of which module of covalab."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any, Final

ALIASES: Final = {
    "covalent.fs": "covalab.files",
    "covalent.fs_strategies": "covalab.files.strategies",
    "covalent.leptons": "covalab.sdk.building.lepton_decorators",
}
"""Path -> the module that is imported in its place."""

DOORS: Final = {
    "covalent": "covalab",
    "covalent._file_transfer.strategies": "covalab.files.strategies",
    "covalent.executor": "covalab.executor",
    "covalent.triggers": "covalab.triggers",
}
"""Path of a package -> the module that has its names. It is no alias, because it has submodules of its own."""

NAMES: Final[dict[str, dict[str, str]]] = {
    "covalent._dispatcher_plugins": {"covalab.sdk.dispatching.local_dispatcher": "LocalDispatcher"},
    "covalent._dispatcher_plugins.local": {"covalab.sdk.dispatching.local_dispatcher": "LocalDispatcher"},
    "covalent._file_transfer": {
        "covalab.files": "File, FileTransfer, Folder, Order, TransferFromRemote, TransferToRemote"
    },
    "covalent._file_transfer.enums": {"covalab.files": "Order"},
    "covalent._file_transfer.file": {"covalab.files": "File"},
    "covalent._file_transfer.file_transfer": {"covalab.files": "FileTransfer, TransferFromRemote, TransferToRemote"},
    "covalent._file_transfer.folder": {"covalab.files": "Folder"},
    "covalent._file_transfer.strategies.azure_blob_strategy": {"covalab.files.strategies": "Blob"},
    "covalent._file_transfer.strategies.gcloud_strategy": {"covalab.files.strategies": "GCloud"},
    "covalent._file_transfer.strategies.http_strategy": {"covalab.files.strategies": "HTTP"},
    "covalent._file_transfer.strategies.rsync_strategy": {
        "covalab.files.strategies": "Rsync",
        "subprocess": "Popen",  # users' tests put another in its place
    },
    "covalent._file_transfer.strategies.s3_strategy": {"covalab.files.strategies": "S3"},
    "covalent._file_transfer.strategies.shutil_strategy": {"covalab.files.strategies": "Shutil"},
    "covalent._results_manager": {
        "covalab.sdk.dispatching.api": "cancel, get_result",
        "covalab.sdk.results.result": "Result",
    },
    "covalent._results_manager.result": {"covalab.sdk.results.result": "Result"},
    "covalent._results_manager.results_manager": {
        "covalab.sdk.dispatching.api": "cancel, get_result",
        "covalab.sdk.results.result_manager": "ResultManager, _delete_result, get_result_manager",
    },
    "covalent._shared_files": {
        "covalab.core.errors": "TaskCancelledError, TaskRuntimeError",
        "covalab.sdk.configuration": "get_config, set_config",
        "covalent._shared_files": "logger",  # a submodule that plug-ins use without importing it
    },
    "covalent._shared_files.config": {
        "covalab.sdk.configuration": "get_config, reload_config, set_config, update_config"
    },
    "covalent._shared_files.defaults": {"covalab.sdk.building.trace": "WAIT_EDGE as WAIT_EDGE_NAME"},
    "covalent._shared_files.exceptions": {
        "covalab.core.errors": "MissingLatticeRecordError, TaskCancelledError, TaskRuntimeError"
    },
    "covalent._shared_files.util_classes": {"covalab.core.covalent_status": "RESULT_STATUS, Status"},
    "covalent._shared_files.utils": {"covalab.sdk.configuration": "format_server_url"},
    "covalent._workflow": {
        "covalab.sdk.hooks.deps": "DepsBash, DepsCall, DepsModule, DepsPip",
        "covalab.sdk.building.electron": "electron",
        "covalab.sdk.building.lattice": "lattice",
        "covalab.sdk.building.lepton": "Lepton",
    },
    "covalent._workflow.depsbash": {"covalab.sdk.hooks.deps": "DepsBash"},
    "covalent._workflow.depscall": {"covalab.sdk.hooks.deps": "DepsCall"},
    "covalent._workflow.depsmodule": {"covalab.sdk.hooks.deps": "DepsModule"},
    "covalent._workflow.depspip": {"covalab.sdk.hooks.deps": "DepsPip"},
    "covalent._workflow.electron": {"covalab.sdk.building.electron": "Electron, electron, wait"},
    "covalent._workflow.lattice": {"covalab.sdk.building.lattice": "Lattice, lattice"},
    "covalent._workflow.lepton": {"covalab.sdk.building.lepton": "Lepton"},
    "covalent._workflow.transport": {
        "covalab.sdk.building.transport_graph": "TransportGraph as _TransportGraph",
        "covalab.core.transportable": "TransportableObject",
    },
    "covalent._workflow.transportable_object": {"covalab.core.transportable": "TransportableObject"},
    "covalent.executor.base": {
        "covalab.executors.base": "AsyncBaseExecutor, BaseExecutor, TaskCancelledError, TaskRuntimeError, "
        "_AbstractBaseExecutor"
    },
    "covalent.executor.executor_plugins": {},
    "covalent.executor.executor_plugins.dask": {"covalab.executors.dask": "DaskExecutor"},
    "covalent.executor.executor_plugins.local": {"covalab.executors.local": "LocalExecutor"},
    "covalent.executor.executor_plugins.remote_executor": {"covalab.executors.remote": "RemoteExecutor"},
    "covalent.executor.utils": {"covalab.worker.context": "get_context", "covalab.executor.utils": "Signals"},
    "covalent.executor.utils.context": {"covalab.worker.context": "Context, get_context"},
    "covalent.executor.utils.enums": {"covalab.executor.utils": "Signals"},
    "covalent.triggers.base": {"covalab.triggers": "BaseTrigger"},
    "covalent.triggers.database_trigger": {"covalab.triggers": "DatabaseTrigger"},
    "covalent.triggers.dir_trigger": {"covalab.triggers": "DirTrigger"},
    "covalent.triggers.sqlite_trigger": {"covalab.triggers": "SQLiteTrigger"},
    "covalent.triggers.time_trigger": {"covalab.triggers": "TimeTrigger"},
    "covalent.triggers.trigger_loader": {"covalab.triggers.trigger_loader": "TriggerLoader, available_triggers"},
}
"""Path -> module -> the names that the path has of it, written as after `import`."""

VALUES: Final[dict[str, dict[str, Any]]] = {
    # Named waits of older versions, in seconds. Only whether there is one matters.
    "covalent._results_manager.wait": {"SHORT": 30, "LONG": 3_000, "VERY_LONG": 60_000, "EXTREME": sys.maxsize},
    # Prefixes of the names of nodes that are not a function's.
    "covalent._shared_files.defaults": {
        "prefix_separator": ":",
        "parameter_prefix": ":parameter:",
        "electron_list_prefix": ":electron_list:",
        "electron_dict_prefix": ":electron_dict:",
        "subscript_prefix": ":subscripted:",
        "generator_prefix": ":generated:",
        "sublattice_prefix": ":sublattice:",
        "attr_prefix": ":attribute:",
        "arg_prefix": ":arg:",
        "postprocess_prefix": ":postprocess:",
    },
    # The logger that Covalent's plug-ins write to; on a worker it is part of a task's output.
    "covalent._shared_files.logger": {
        "app_log": logging.getLogger("covalent"),
        "log_stack_info": os.environ.get("LOGSTACK", "TRUE").upper() == "TRUE",
        "log_debug_info": False,
    },
}
"""Path -> name -> a value that covalab itself has no use for."""

PATHS: Final = frozenset({*ALIASES, *DOORS, *NAMES, *VALUES})
"""All paths that can be imported."""
