"""What users set once: one TOML file, and environment variables that go before it.

The file is `covalab.toml` in the Jupyter configuration directory, or what `COVALAB_CONFIG` names. Read when it is
needed, by the process that needs it; importing this module reads nothing.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from covalab.core.errors import ConfigError


class DaskConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Section `[dask]`: where steps run.

    With neither an address nor a class, a pool starts a local cluster of `num_workers` processes (0: one per core).

    Attributes
    ----------
    scheduler_address
        A scheduler that is already running, ``tcp://host:port`` or ``tls://host:port``; its workers must have covalab
        and see the data folder. Environment: ``COVALAB_DASK_SCHEDULER_ADDRESS``.
    tls_ca_file, tls_client_cert, tls_client_key
        Paths of the PEM files for a ``tls://`` address.
    cluster_class
        A Dask cluster class by its full name, e.g. ``dask_jobqueue.SLURMCluster``, ``dask_gateway.GatewayCluster`` or
        ``dask_kubernetes.operator.KubeCluster``. Environment: ``COVALAB_DASK_CLUSTER_CLASS``.
    cluster_kwargs
        Its keyword arguments.
    num_workers
        How many workers a local cluster starts with, or how many a `cluster_class` is scaled to (0: as it comes).
        Environment: ``COVALAB_WORKERS``.
    """

    scheduler_address: str = ""
    tls_ca_file: str = ""
    tls_client_cert: str = ""
    tls_client_key: str = ""
    cluster_class: str = ""
    cluster_kwargs: dict[str, Any] = {}
    num_workers: int = 0


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file."""

    dask: DaskConfig = DaskConfig()


def config_file() -> Path:
    """Return where the configuration file is, whether or not it exists."""
    chosen = os.environ.get("COVALAB_CONFIG")
    if chosen:
        return Path(chosen).expanduser().absolute()
    from jupyter_core.paths import jupyter_config_dir  # noqa: PLC0415 - 30 ms that a chosen file does not need

    return Path(jupyter_config_dir()) / "covalab.toml"


def load() -> Config:
    """Read the configuration.

    Raises
    ------
    ConfigError
        If the file is not TOML, has an unknown key or a value of the wrong type, or says two things that exclude each
        other; the message names file and key.

    Examples
    --------
    >>> import os
    >>> os.environ["COVALAB_CONFIG"] = "/nowhere/covalab.toml"
    >>> load().dask.scheduler_address
    ''
    """
    path = config_file()
    where = str(path)
    try:
        config = msgspec.toml.decode(path.read_bytes(), type=Config)
    except FileNotFoundError:
        config = Config()
    except (msgspec.MsgspecError, ValueError, OSError) as error:
        raise ConfigError(where, str(error)) from error
    dask = config.dask
    try:
        dask = msgspec.structs.replace(
            dask,
            scheduler_address=os.environ.get("COVALAB_DASK_SCHEDULER_ADDRESS", dask.scheduler_address),
            cluster_class=os.environ.get("COVALAB_DASK_CLUSTER_CLASS", dask.cluster_class),
            num_workers=int(os.environ.get("COVALAB_WORKERS") or dask.num_workers),
        )
    except ValueError as error:
        where = "the environment variable COVALAB_WORKERS"
        raise ConfigError(where, str(error)) from error
    if dask.scheduler_address and dask.cluster_class:
        what = "dask.scheduler_address and dask.cluster_class exclude each other; keep one"
        raise ConfigError(where, what)
    return msgspec.structs.replace(config, dask=dask)
