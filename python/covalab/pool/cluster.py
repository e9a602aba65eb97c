"""Dask cluster of a pool: its own on loopback, or one that the configuration names."""

from __future__ import annotations

import asyncio
import datetime as dt
import importlib
import os
from pathlib import Path
from typing import Any, Final

import dask
import distributed.utils
import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from distributed import Client, LocalCluster, Security

from covalab.config import DaskConfig, config_file, default_workers
from covalab.core.errors import ConfigError
from covalab.core.process_variables import INLINE_BACKEND
from covalab.pool import batch_jobs
from covalab.pool.closed_http import close_http
from covalab.pool.left_alone import end_when_left
from covalab.pool.worker_jobs import SOCKET

_CONNECT_SECONDS: Final = 300
"""The wait for a scheduler that does not answer: it may be restarting, and nothing is lost meanwhile."""


class _SchedulerFile(msgspec.Struct):
    """File that a scheduler writes: where it is."""

    address: str


async def connect(config: DaskConfig, workers_socket: Path, logs: Path) -> Client:
    """Return a client of the cluster that the configuration asks for.

    Parameters
    ----------
    config
        The configuration.
    workers_socket
        The address at which workers of a cluster of our own get their jobs.
    logs
        The folder for the logs of batch jobs, where the configuration names none.

    Raises
    ------
    ConfigError
        If the configured class cannot be imported or called, or a TLS file cannot be read.
    OSError
        If the configured scheduler does not answer.
    """
    if config.scheduler_address or config.scheduler_file:
        address = config.scheduler_address or await _address_in(config.scheduler_file)
        try:
            return await _client_of(address, security=_given_security(config, address), timeout=_CONNECT_SECONDS)
        except (OSError, ValueError) as error:
            message = (
                f"the Dask scheduler {address} does not answer ({type(error).__name__}: {error}); "
                f"start it, or correct {config.ways[0]}"
            )
            raise OSError(message) from error
    if config.gateway_cluster:
        return await _client_of(await _of_gateway(config))
    cluster = await _of_class(config, logs) if config.cluster_class else await _local(config, workers_socket)
    client = await _client_of(cluster)
    await end_when_left(client, cluster)
    return client


async def _address_in(file: str) -> str:
    """Return the address in a scheduler file, which may be written a little later than it is needed."""
    for _ in range(_CONNECT_SECONDS):
        try:
            return await asyncio.to_thread(_read_address, file)
        except (OSError, msgspec.MsgspecError) as error:  # not there yet, or half of it
            reason = str(error)
            await asyncio.sleep(1)
    message = f"the scheduler file {file} has no address ({reason}); start `dask scheduler --scheduler-file {file}`"
    raise OSError(message)


def _read_address(file: str) -> str:
    return msgspec.json.decode(Path(file).expanduser().read_bytes(), type=_SchedulerFile).address


async def _of_gateway(config: DaskConfig) -> Any:
    """Return a cluster that runs at a Dask Gateway. It is connected to, not started, and goes on after us."""
    try:
        gateway = importlib.import_module("dask_gateway").Gateway
    except ImportError as error:
        what = f"gateway_cluster = {config.gateway_cluster!r} needs the package dask-gateway: {error}"
        raise _refused(what) from error
    try:
        return await gateway(asynchronous=True, **config.cluster_kwargs).connect(config.gateway_cluster)
    except TypeError as error:
        what = f"dask_gateway.Gateway does not take these cluster_kwargs: {error}"
        raise _refused(what) from error
    except Exception as error:  # the gateway may be away for a moment
        message = (
            f"the cluster {config.gateway_cluster!r} of Dask Gateway cannot be connected to: {_chain(error)}; "
            f"start it, or correct gateway_cluster in {config_file()}"
        )
        raise OSError(message) from error


async def _client_of(what: Any, **options: Any) -> Client:
    client: Client = Client(what, asynchronous=True, set_as_default=False, **options)
    await client
    return client


def _given_security(config: DaskConfig, address: str) -> Security | None:
    if not address.startswith("tls://"):
        return None
    try:
        return Security(
            tls_ca_file=config.tls_ca_file or None,
            tls_client_cert=config.tls_client_cert or None,
            tls_client_key=config.tls_client_key or None,
            require_encryption=True,
        )
    except OSError as error:
        what = f"a file of tls_*: {error}"
        raise _refused(what) from error


async def _of_class(config: DaskConfig, logs: Path) -> Any:
    module, _, name = config.cluster_class.rpartition(".")
    try:
        cluster_class = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        what = f"cluster_class = {config.cluster_class!r} cannot be imported: {error}"
        raise _refused(what) from error
    try:
        is_batch = batch_jobs.is_batch_class(cluster_class)
        if is_batch or name == "SSHCluster":
            _keep_settings_here()
        arguments = batch_jobs.prepared(cluster_class, config, logs) if is_batch else config.cluster_kwargs
        return await cluster_class(asynchronous=True, **arguments)
    except TypeError as error:
        what = f"{config.cluster_class} does not take these cluster_kwargs: {error}"
        raise _refused(what) from error
    except Exception as error:  # the class may raise anything; not final, a batch system may be away for a moment
        message = (
            f"{config.cluster_class}, a cluster_class of {config_file()}, did not start: {_chain(error)}; "
            "check it and its cluster_kwargs"
        )
        raise OSError(message) from error


def _keep_settings_here() -> None:
    """Take out what was set for Dask on this machine: jobs and commands by SSH inherit it, on hosts of others.

    Our folder for temporary files is not there, and `SSHCluster` waits for a line that its scheduler logs.
    """
    os.environ.pop("DASK_TEMPORARY_DIRECTORY", None)
    os.environ.pop("DASK_DISTRIBUTED__LOGGING__DISTRIBUTED", None)
    dask.config.set({"temporary-directory": None, "distributed.logging.distributed": "info"})


def _chain(error: BaseException | None) -> str:
    """Return the text of an error and its causes: Dask hides the reason two causes deep."""
    texts: list[str] = []
    while error is not None:
        texts.append(f"{type(error).__name__}: {error}")
        error = error.__cause__ or error.__context__
    return ", because of ".join(texts)


def _refused(what: str) -> ConfigError:
    return ConfigError(str(config_file()), what)


def minted_security() -> Security:
    """Mint a certificate for one pool: valid from a month ago, so that a clock set back does not take it down."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "covalab pool")])
    now = dt.datetime.now(dt.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("covalab pool")]), critical=False)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=30))
        .not_valid_after(now + dt.timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )
    public = certificate.public_bytes(serialization.Encoding.PEM).decode()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    return Security(
        tls_ca_file=public,
        tls_client_cert=public,
        tls_client_key=private,
        tls_scheduler_cert=public,
        tls_scheduler_key=private,
        tls_worker_cert=public,
        tls_worker_key=private,
        require_encryption=True,
    )


async def _local(config: DaskConfig, workers_socket: Path) -> LocalCluster:
    """Start the scheduler in this process and one worker process per core. Nothing listens beyond loopback."""
    dask.config.set(
        {
            # A worker's death is judged by the dispatcher, which knows what ran there; Dask must not run it again.
            "distributed.scheduler.allowed-failures": 0,
            "distributed.scheduler.work-stealing": False,  # the dispatcher chooses the worker
            "distributed.admin.low-level-log-length": 10,  # outcomes travel as events; keep none of them
            "distributed.comm.timeouts.connect": "60s",
            # A task may hold the interpreter's lock for an hour, and its worker cannot answer meanwhile.
            "distributed.scheduler.worker-ttl": None,
            # The cluster ends a nanny whose worker is away this long after an earlier loss, even if that was made good
            # and the worker is only being restarted again. `PoolServer` checks for workers that stay away.
            "distributed.deploy.lost-worker-timeout": "365 days",
            "distributed.worker.daemon": False,  # a task may have child processes
            "distributed.worker.profile.enabled": False,
            # These servers are without TLS and login; see `close_http`. Until that, they serve nothing.
            "distributed.scheduler.http.routes": [],
            "distributed.worker.http.routes": [],
            # An idle pool should cost nothing.
            "distributed.admin.tick.interval": "1s",
            "distributed.admin.system-monitor.interval": "5s",
        }
    )
    if config.forks:
        dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"})
        # Otherwise Dask imports all packages that it can work with, such as pandas, here and in the starter.
        distributed.utils._forkserver_preload_set = True  # noqa: SLF001 - if it is gone, a start takes longer
    cluster = await LocalCluster(
        n_workers=config.num_workers or default_workers(),
        threads_per_worker=1,
        processes=True,
        asynchronous=True,
        host="127.0.0.1",
        protocol="tls",
        security=minted_security(),
        dashboard_address="127.0.0.1:0",
        worker_dashboard_address="127.0.0.1:0",
        scheduler_kwargs={"dashboard": False},
        # An hour-long task may use the memory of the machine, not a share of it, unless the configuration limits it.
        memory_limit=0 if config.mem_per_worker == "auto" else config.mem_per_worker,
        silence_logs=False,
        env={"MPLBACKEND": INLINE_BACKEND, SOCKET: str(workers_socket)},
        preload=["covalab.pool.dask_tasks"],  # its `dask_setup` opens the private line
    )
    close_http(cluster.scheduler)
    return cluster
