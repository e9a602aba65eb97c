"""`covalent_start`, `covalent_stop`, `is_covalent_running`: the dispatcher, from a program.

Nobody has to start it: dispatching does. It belongs to the data folder (`COVALAB_DATA_DIR`), not to the program.
"""

from __future__ import annotations

import warnings
from typing import Final

from covalab.client import Client, connect
from covalab.client.connecting import far_server, own_data_dir
from covalab.client.launcher import find
from covalab.core.errors import DispatcherUnavailable
from covalab.sdk.configuration import set_config
from covalab.sdk.values import FieldDict

WITHOUT_MEANING: Final = {
    "develop": "the dispatcher has one mode",
    "port": "the dispatcher listens on a private socket in the data folder, not on the network",
    "threads_per_worker": "a worker runs one task at a time; `workers` says how many there are",
    "ignore_migrations": "the database is brought up to date when the dispatcher starts",
    "no_triggers": "triggers run in a process of their own, only while a dispatch has some",
    "triggers_only": "triggers run in a process of their own, only while a dispatch has some",
}
"""Covalent's options of the start that change nothing here, and what takes their place."""


def covalent_start(
    develop: bool = False,
    port: int | None = None,
    mem_per_worker: str | int | None = None,
    workers: int | None = None,
    threads_per_worker: int | None = None,
    ignore_migrations: bool = False,
    no_cluster: bool = False,
    no_triggers: bool = False,
    triggers_only: bool = False,
    *,
    quiet: bool = False,
) -> None:
    """Start the dispatcher of the data folder; return when it answers, at once if it is running.

    Parameters
    ----------
    workers, mem_per_worker
        How many workers the local cluster has and how much memory each may take, e.g. ``"4 GB"``. As in Covalent they
        are written into the configuration (``dask.num_workers``, ``dask.mem_per_worker``).
    no_cluster
        Let electrons that name no executor run on ``local``; written into the configuration (``sdk.no_cluster``).
    develop, port, threads_per_worker, ignore_migrations, no_triggers, triggers_only
        Covalent's; a warning says what takes their place.
    quiet
        Say nothing.

    Raises
    ------
    DispatcherUnavailable, DataFolderError
        If it cannot be started.
    """
    given = {
        "develop": develop,
        "port": port,
        "threads_per_worker": threads_per_worker,
        "ignore_migrations": ignore_migrations,
        "no_triggers": no_triggers,
        "triggers_only": triggers_only,
    }
    for name, value in given.items():
        if value is not None and value is not False:
            warnings.warn(f"`{name}` changes nothing: {WITHOUT_MEANING[name]}", stacklevel=2)
    settings: FieldDict = {"dask.num_workers": workers, "dask.mem_per_worker": mem_per_worker}
    if no_cluster:
        settings["sdk.no_cluster"] = "true"
    settings = {key: value for key, value in settings.items() if value is not None}
    if settings:
        set_config(settings)
    was_running = is_covalent_running()
    status = connect().status()
    said = f"The dispatcher {'was already' if was_running else 'is'} running: process {status.pid}, {status.data_dir}"
    if was_running and settings:
        said += f"\nWhat is new ({', '.join(settings)}) holds from its next start on: `covalab restart`."
    if not quiet:
        _show(said)


def covalent_stop(*, quiet: bool = False) -> None:
    """Stop the dispatcher and its workers; return when they are gone.

    Nothing is lost: what was unfinished goes on at the next start. (Covalent cancels it.)

    Parameters
    ----------
    quiet
        Say nothing.

    Raises
    ------
    DispatcherError
        If it does not end.
    """
    folder = own_data_dir()
    if find(folder) is None:
        said = f"No dispatcher is running for {folder}."
    else:
        client = Client(folder, start=False)
        status = client.status()
        unfinished = status.active + status.scheduled
        client.stop()
        later = f" {unfinished} unfinished dispatches go on at the next start." if unfinished else ""
        said = f"The dispatcher of {folder} has stopped.{later}"
    if not quiet:
        _show(said)


def is_covalent_running() -> bool:
    """Return whether a dispatcher is running for the data folder, or behind the server that `connect` chose."""
    if far_server() is None:
        return find(own_data_dir()) is not None
    try:
        connect().status()
    except DispatcherUnavailable:
        return False
    return True


def _show(text: str) -> None:
    print(text)  # noqa: T201 - it is what was asked for
