"""`get_config`, `set_config`, `reload_config`: Covalent's way to read and write what users set once.

The file is `covalab.toml` (see `covalab.config`). Covalent's keys that mean something here are settings; the others can
be read, with what is true here, and writing one says what takes its place. Reading creates nothing.
"""

from __future__ import annotations

import copy
import difflib
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from covalab import config
from covalab.client import paths
from covalab.core.errors import ConfigError
from covalab.sdk import doorway
from covalab.sdk.values import FieldDict, UserValue

_ELSEWHERE: Final[Mapping[str, str]] = {
    "sdk.config_file": "COVALAB_CONFIG names the file",
    "sdk.log_dir": "logs lie in the data folder, which COVALAB_DATA_DIR names",
    "sdk.enable_logging": "the dispatcher always writes a log; `sdk.log_level` says how much",
    "sdk.dispatch_cache_dir": "what is dispatched is kept in the data folder, which COVALAB_DATA_DIR names",
    "sdk.task_packing": "nodes that belong together always travel together",
    "dispatcher.address": "the dispatcher listens on a private socket in the data folder, not on the network",
    "dispatcher.port": "the dispatcher listens on a private socket in the data folder, not on the network",
    "dispatcher.cache_dir": "everything lies in the data folder, which COVALAB_DATA_DIR names",
    "dispatcher.results_dir": "everything lies in the data folder, which COVALAB_DATA_DIR names",
    "dispatcher.log_dir": "logs lie in the data folder, which COVALAB_DATA_DIR names",
    "dispatcher.db_path": "the database lies in the data folder, which COVALAB_DATA_DIR names",
    "dispatcher.heartbeat_interval": "a lock tells whether the dispatcher lives; there is no heartbeat",
    "dispatcher.heartbeat_file": "a lock tells whether the dispatcher lives; there is no heartbeat",
    "dispatcher.use_async_dispatcher": "there is one dispatcher",
    "dispatcher.asset_cache_size": "values are mapped from their files; there is no cache to size",
    "dask.cache_dir": "everything lies in the data folder, which COVALAB_DATA_DIR names",
    "dask.log_dir": "logs lie in the data folder, which COVALAB_DATA_DIR names",
    "dask.threads_per_worker": "a worker runs one task at a time; `dask.num_workers` says how many workers there are",
    "workflow_data.storage_type": "values lie in the data folder, which COVALAB_DATA_DIR names",
    "workflow_data.base_dir": "values lie in the data folder, which COVALAB_DATA_DIR names",
    "user_interface.address": "the user interface is in JupyterLab: `covalab lab`",
    "user_interface.port": "the user interface is in JupyterLab: `covalab lab`",
    "user_interface.dev_port": "the user interface is in JupyterLab: `covalab lab`",
    "user_interface.log_dir": "logs lie in the data folder, which COVALAB_DATA_DIR names",
}
"""Covalent's keys that set nothing here, and what takes their place."""

_SWITCHES: Final = ("sdk.no_cluster", "sdk.exhaustive_postprocess")


def get_config(entries: str | Sequence[str] | None = None) -> UserValue:
    """Return what is configured: environment variables before the file, the file before the defaults.

    Parameters
    ----------
    entries
        One dotted key (of a section: all of it) or several; everything, if not given.

    Returns
    -------
    Any
        The value of one key; a dict by key of several; a dict by section of everything, to be read and not to be
        written to.

    Raises
    ------
    KeyError
        If there is no such key.
    ConfigError
        If the file cannot be read.

    Examples
    --------
    >>> get_config("dask.threads_per_worker"), get_config(["sdk.no_cluster", "dispatcher.address"])
    (1, {'sdk.no_cluster': 'false', 'dispatcher.address': 'localhost'})
    """
    wanted = [entries] if isinstance(entries, str) else entries
    found = _everything(plugins=not wanted or any(entry.partition(".")[0] == "executors" for entry in wanted))
    if entries is None or not entries:
        return found
    if isinstance(entries, str):
        return _value_of(found, entries)
    if len(entries) == 1:
        return _value_of(found, entries[0])
    return {entry: _value_of(found, entry) for entry in entries}


def set_config(new_config: str | Mapping[str, UserValue], new_value: UserValue = None) -> None:
    """Write settings into the file, at once and for good.

    What takes part in a running pool of workers (``dask.*``, ``clusters.*``) holds from the pool's next start on:
    ``covalab restart``.

    Parameters
    ----------
    new_config
        A dotted key, or a dict of values by dotted key.
    new_value
        The value of the one key. None takes the key out of the file: its default holds again.

    Raises
    ------
    ConfigError
        If a value cannot be what the key wants, or the file cannot be written; the file stays as it was.
    TypeError
        If `new_config` is neither text nor a dict.
    """
    given: UserValue = {new_config: new_value} if isinstance(new_config, str) else new_config
    if not isinstance(given, Mapping):
        message = f"set_config takes a dotted key and a value, or a dict of them, not {given!r}"
        raise TypeError(message)
    wanted: FieldDict = {}
    for key, value in _flat(given).items():
        if "." not in key.strip("."):
            message = f"{key!r} is no key: a key has a section and a name, e.g. 'dask.num_workers'"
            raise ConfigError(str(config.config_file()), message)
        if key in _ELSEWHERE:
            warnings.warn(f"`{key}` is not set: {_ELSEWHERE[key]}", stacklevel=2)
        else:
            wanted[key] = value
            _say_who_goes_before(key, value)
    config.change(wanted)


def update_config(new_entries: Mapping[str, UserValue] | None = None, override_existing: bool = True) -> None:
    """Write entries of sections, as Covalent's plug-ins do with their defaults.

    Parameters
    ----------
    new_entries
        Nested dicts by section, e.g. ``{"executors": {"slurm": {"username": "ada"}}}``.
    override_existing
        Whether to replace what is there; if not, only what is missing is written.
    """
    wanted: FieldDict = {}

    def collect(entries: Mapping[str, UserValue], there: Mapping[str, UserValue], path: str) -> None:
        for name, value in entries.items():
            old = there.get(name)
            if isinstance(value, Mapping) and (value or isinstance(old, Mapping)):
                collect(value, old if isinstance(old, Mapping) else {}, f"{path}{name}.")
            elif override_existing or name not in there:
                wanted[f"{path}{name}"] = value

    collect(new_entries or {}, get_config(), "")
    if wanted:
        set_config(wanted)


def format_server_url(hostname: str | None = None, port: int | None = None) -> str:
    """Return the address that `dispatcher_addr` takes: of this machine, where the dispatcher's socket is.

    Examples
    --------
    >>> format_server_url(), format_server_url("localhost", 48008)
    ('http://localhost:0', 'http://localhost:48008')
    """
    found = get_config("dispatcher")
    return f"http://{hostname or found['address']}:{found['port'] if port is None else port}"


def reload_config() -> None:
    """Do nothing: every reading is of the file as it is then. Covalent's programs call it."""


def exhaustive_postprocess() -> bool:
    """Return whether ``sdk.exhaustive_postprocess`` is on."""
    return config.is_on(config.sdk().exhaustive_postprocess)


def strict_lattices() -> bool:
    """Return whether a lattice's body raises where it asks for a value that is still to come."""
    setting = config.sdk().strict_lattices
    return not doorway.is_open() if setting == "auto" else config.is_on(setting)


def default_executor() -> str:
    """Return the executor of electrons for which nobody names one: ``dask``, or ``local`` with ``sdk.no_cluster``."""
    return "local" if config.is_on(config.sdk().no_cluster) else "dask"


def _say_who_goes_before(key: str, value: UserValue) -> None:
    before = next((name for name in config.VARIABLES.get(key, ()) if os.environ.get(name)), None)
    if before is not None:
        message = f"`{key}` = {value!r} is written, but the environment variable {before} goes before it; unset that"
        warnings.warn(message, stacklevel=3)


def _flat(nested: Mapping[str, UserValue]) -> FieldDict:
    """Write ``{"dask": {"num_workers": 2}}`` as ``{"dask.num_workers": 2}``; deeper dicts are values."""
    flat: FieldDict = {}
    for key, value in nested.items():
        if "." not in key and isinstance(value, Mapping):
            flat.update({f"{key}.{name}": inner for name, inner in value.items()})
        else:
            flat[key] = value
    return flat


def _everything(*, plugins: bool) -> FieldDict:
    found = _defaults()
    if plugins:
        from covalab.executors.manager import _executor_manager  # noqa: PLC0415 - it loads plug-ins' packages

        found["executors"] = _executor_manager.all_defaults()
    for section, table in config.raw().items():
        if section == "executors" and isinstance(table, dict):
            for name, settings in table.items():
                found[section][name] = {**found[section].get(name, {}), **copy.deepcopy(settings)}
        elif section == "clusters" and isinstance(table, dict):
            for name, settings in table.items():
                found[section][name] = {**msgspec.structs.asdict(config.ClusterConfig()), **copy.deepcopy(settings)}
        elif isinstance(table, dict) and isinstance(found.get(section), dict):
            found[section].update(copy.deepcopy(table))
        else:
            found[section] = copy.deepcopy(table)
    for key in _SWITCHES:
        section, _, name = key.partition(".")
        found[section][name] = "true" if config.is_on(found[section][name]) else "false"
    found["sdk"]["strict_lattices"] = "true" if strict_lattices() else "false"
    found["dask"]["num_workers"] = found["dask"]["num_workers"] or config.default_workers()
    sdk = found["sdk"]
    sdk["log_level"] = sdk["log_level"] or "info"
    sdk["results_dir"] = sdk["results_dir"] or str(paths.data_dir() / "results")
    return found


def _defaults() -> FieldDict:
    data = paths.data_dir()
    logs = str(paths.log_file(data).parent)
    return {
        "sdk": {
            "config_file": str(config.config_file()),
            "log_dir": logs,
            "enable_logging": "true",
            "dispatch_cache_dir": str(paths.blob_folder(data)),
            "task_packing": "false",
            **msgspec.structs.asdict(config.SdkConfig()),
        },
        "dispatcher": {
            "address": "localhost",
            "port": 0,
            "cache_dir": str(data),
            "results_dir": str(paths.blob_folder(data)),
            "log_dir": logs,
            "db_path": str(data / "covalab.db"),
            "heartbeat_interval": 0,
            "heartbeat_file": str(paths.address_file(data)),
            "use_async_dispatcher": "true",
            "asset_cache_size": 0,
        },
        "dask": {
            "cache_dir": str(paths.spool_folder(data)),
            "log_dir": logs,
            "threads_per_worker": 1,
            **msgspec.structs.asdict(config.DaskConfig()),
        },
        "clusters": {},
        "workflow_data": {"storage_type": "local", "base_dir": str(paths.blob_folder(data))},
        "user_interface": {"address": "localhost", "port": 0, "dev_port": 0, "log_dir": logs},
        "results": msgspec.structs.asdict(config.ResultsConfig()),
        "data": msgspec.structs.asdict(config.DataConfig()),
        "executors": {},
    }


def _value_of(found: Mapping[str, UserValue], entry: str) -> UserValue:
    value: UserValue = found
    for depth, part in enumerate(entry.split(".")):
        if not isinstance(value, Mapping) or part not in value:
            there = sorted(value) if isinstance(value, Mapping) else []
            near = difflib.get_close_matches(part, there, n=1)
            where = ".".join(entry.split(".")[:depth]) or "the configuration"
            hint = f"did you mean {near[0]!r}?" if near else f"{where} has {', '.join(there) or 'nothing below it'}"
            message = f"no {entry!r} in the configuration; {hint}"
            raise KeyError(message)
        value = value[part]
    return value
