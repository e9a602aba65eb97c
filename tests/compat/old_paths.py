"""Every module that `import covalent` makes importable, with its names and their homes in covalab.

Programs and plug-ins of users import these paths, so an entry stays as long as Covalent's programs are supported.
"""

from __future__ import annotations

import sys

ALIASES = {
    "covalent.fs": "covalab.files",
    "covalent.fs_strategies": "covalab.files.strategies",
    "covalent.leptons": "covalab.sdk.building.lepton_decorators",
}
"""Paths of modules that are a module of covalab."""

DOORS = {
    "covalent": "covalab",
    "covalent._file_transfer.strategies": "covalab.files.strategies",
    "covalent.executor": "covalab.executor",
    "covalent.triggers": "covalab.triggers",
}
"""Paths of packages that have all names of a module of covalab, and submodules of their own."""

NAMES: dict[str, dict[str, str]] = {
    "covalent._dispatcher_plugins": {"LocalDispatcher": "covalab.sdk.dispatching.local_dispatcher:LocalDispatcher"},
    "covalent._dispatcher_plugins.local": {
        "LocalDispatcher": "covalab.sdk.dispatching.local_dispatcher:LocalDispatcher"
    },
    "covalent._file_transfer": {
        "File": "covalab.files:File",
        "FileTransfer": "covalab.files:FileTransfer",
        "Folder": "covalab.files:Folder",
        "Order": "covalab.files:Order",
        "TransferFromRemote": "covalab.files:TransferFromRemote",
        "TransferToRemote": "covalab.files:TransferToRemote",
    },
    "covalent._file_transfer.enums": {"Order": "covalab.files:Order"},
    "covalent._file_transfer.file": {"File": "covalab.files:File"},
    "covalent._file_transfer.file_transfer": {
        "FileTransfer": "covalab.files:FileTransfer",
        "TransferFromRemote": "covalab.files:TransferFromRemote",
        "TransferToRemote": "covalab.files:TransferToRemote",
    },
    "covalent._file_transfer.folder": {"Folder": "covalab.files:Folder"},
    "covalent._file_transfer.strategies.azure_blob_strategy": {"Blob": "covalab.files.strategies:Blob"},
    "covalent._file_transfer.strategies.gcloud_strategy": {"GCloud": "covalab.files.strategies:GCloud"},
    "covalent._file_transfer.strategies.http_strategy": {"HTTP": "covalab.files.strategies:HTTP"},
    "covalent._file_transfer.strategies.rsync_strategy": {
        "Popen": "subprocess:Popen",
        "Rsync": "covalab.files.strategies:Rsync",
    },
    "covalent._file_transfer.strategies.s3_strategy": {"S3": "covalab.files.strategies:S3"},
    "covalent._file_transfer.strategies.shutil_strategy": {"Shutil": "covalab.files.strategies:Shutil"},
    "covalent._results_manager": {
        "cancel": "covalab.sdk.dispatching.api:cancel",
        "get_result": "covalab.sdk.dispatching.api:get_result",
        "Result": "covalab.sdk.results.result:Result",
    },
    "covalent._results_manager.result": {"Result": "covalab.sdk.results.result:Result"},
    "covalent._results_manager.results_manager": {
        "cancel": "covalab.sdk.dispatching.api:cancel",
        "get_result": "covalab.sdk.dispatching.api:get_result",
        "ResultManager": "covalab.sdk.results.result_manager:ResultManager",
        "_delete_result": "covalab.sdk.results.result_manager:_delete_result",
        "get_result_manager": "covalab.sdk.results.result_manager:get_result_manager",
    },
    "covalent._results_manager.wait": {},
    "covalent._shared_files": {
        "TaskCancelledError": "covalab.core.errors:TaskCancelledError",
        "TaskRuntimeError": "covalab.core.errors:TaskRuntimeError",
        "get_config": "covalab.sdk.configuration:get_config",
        "set_config": "covalab.sdk.configuration:set_config",
    },
    "covalent._shared_files.config": {
        "get_config": "covalab.sdk.configuration:get_config",
        "reload_config": "covalab.sdk.configuration:reload_config",
        "set_config": "covalab.sdk.configuration:set_config",
        "update_config": "covalab.sdk.configuration:update_config",
    },
    "covalent._shared_files.defaults": {"WAIT_EDGE_NAME": "covalab.sdk.building.trace:WAIT_EDGE"},
    "covalent._shared_files.exceptions": {
        "MissingLatticeRecordError": "covalab.core.errors:MissingLatticeRecordError",
        "TaskCancelledError": "covalab.core.errors:TaskCancelledError",
        "TaskRuntimeError": "covalab.core.errors:TaskRuntimeError",
    },
    "covalent._shared_files.logger": {},
    "covalent._shared_files.util_classes": {
        "RESULT_STATUS": "covalab.core.covalent_status:RESULT_STATUS",
        "Status": "covalab.core.covalent_status:Status",
    },
    "covalent._shared_files.utils": {"format_server_url": "covalab.sdk.configuration:format_server_url"},
    "covalent._workflow": {
        "DepsBash": "covalab.sdk.hooks.deps:DepsBash",
        "DepsCall": "covalab.sdk.hooks.deps:DepsCall",
        "DepsModule": "covalab.sdk.hooks.deps:DepsModule",
        "DepsPip": "covalab.sdk.hooks.deps:DepsPip",
        "electron": "covalab.sdk.building.electron:electron",
        "lattice": "covalab.sdk.building.lattice:lattice",
        "Lepton": "covalab.sdk.building.lepton:Lepton",
    },
    "covalent._workflow.depsbash": {"DepsBash": "covalab.sdk.hooks.deps:DepsBash"},
    "covalent._workflow.depscall": {"DepsCall": "covalab.sdk.hooks.deps:DepsCall"},
    "covalent._workflow.depsmodule": {"DepsModule": "covalab.sdk.hooks.deps:DepsModule"},
    "covalent._workflow.depspip": {"DepsPip": "covalab.sdk.hooks.deps:DepsPip"},
    "covalent._workflow.electron": {
        "Electron": "covalab.sdk.building.electron:Electron",
        "electron": "covalab.sdk.building.electron:electron",
        "wait": "covalab.sdk.building.electron:wait",
    },
    "covalent._workflow.lattice": {
        "Lattice": "covalab.sdk.building.lattice:Lattice",
        "lattice": "covalab.sdk.building.lattice:lattice",
    },
    "covalent._workflow.lepton": {"Lepton": "covalab.sdk.building.lepton:Lepton"},
    "covalent._workflow.transport": {
        "_TransportGraph": "covalab.sdk.building.transport_graph:TransportGraph",
        "TransportableObject": "covalab.core.transportable:TransportableObject",
    },
    "covalent._workflow.transportable_object": {
        "TransportableObject": "covalab.core.transportable:TransportableObject"
    },
    "covalent.executor.base": {
        "AsyncBaseExecutor": "covalab.executors.base:AsyncBaseExecutor",
        "BaseExecutor": "covalab.executors.base:BaseExecutor",
        "TaskCancelledError": "covalab.executors.base:TaskCancelledError",
        "TaskRuntimeError": "covalab.executors.base:TaskRuntimeError",
        "_AbstractBaseExecutor": "covalab.executors.base:_AbstractBaseExecutor",
    },
    "covalent.executor.executor_plugins": {},
    "covalent.executor.executor_plugins.dask": {"DaskExecutor": "covalab.executors.dask:DaskExecutor"},
    "covalent.executor.executor_plugins.local": {"LocalExecutor": "covalab.executors.local:LocalExecutor"},
    "covalent.executor.executor_plugins.remote_executor": {"RemoteExecutor": "covalab.executors.remote:RemoteExecutor"},
    "covalent.executor.utils": {
        "Signals": "covalab.executor.utils.enums:Signals",
        "get_context": "covalab.worker.context:get_context",
    },
    "covalent.executor.utils.context": {
        "Context": "covalab.worker.context:Context",
        "get_context": "covalab.worker.context:get_context",
    },
    "covalent.executor.utils.enums": {"Signals": "covalab.executor.utils.enums:Signals"},
    "covalent.triggers.base": {"BaseTrigger": "covalab.triggers:BaseTrigger"},
    "covalent.triggers.database_trigger": {"DatabaseTrigger": "covalab.triggers:DatabaseTrigger"},
    "covalent.triggers.dir_trigger": {"DirTrigger": "covalab.triggers:DirTrigger"},
    "covalent.triggers.sqlite_trigger": {"SQLiteTrigger": "covalab.triggers:SQLiteTrigger"},
    "covalent.triggers.time_trigger": {"TimeTrigger": "covalab.triggers:TimeTrigger"},
    "covalent.triggers.trigger_loader": {
        "TriggerLoader": "covalab.triggers.trigger_loader:TriggerLoader",
        "available_triggers": "covalab.triggers:available_triggers",
    },
}
"""Path -> name -> module and name in covalab."""

VALUES: dict[str, dict[str, object]] = {
    "covalent._results_manager.wait": {"SHORT": 30, "LONG": 3_000, "VERY_LONG": 60_000, "EXTREME": sys.maxsize},
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
    "covalent._shared_files.logger": {"log_stack_info": True, "log_debug_info": False},
}
"""Path -> name -> value."""

PACKAGES = {
    "covalent",
    "covalent._dispatcher_plugins",
    "covalent._file_transfer",
    "covalent._file_transfer.strategies",
    "covalent._results_manager",
    "covalent._shared_files",
    "covalent._workflow",
    "covalent.executor",
    "covalent.executor.executor_plugins",
    "covalent.executor.utils",
    "covalent.triggers",
}
"""Paths that have submodules."""

PATHS = sorted({*ALIASES, *DOORS, *NAMES, *VALUES})
"""All of them."""
