"""The local Dask cluster: on loopback, with TLS, under a certificate that exists only in memory."""

from __future__ import annotations

import datetime as dt
import os

import dask
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from distributed import LocalCluster, Security


def n_workers() -> int:
    """Return how many workers a local cluster has: `COVALAB_WORKERS`, else one per core this process may use."""
    chosen = os.environ.get("COVALAB_WORKERS")
    if chosen:
        return max(1, int(chosen))
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1


def security() -> Security:
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


async def start_local() -> LocalCluster:
    """Start the scheduler in this process and one worker process per core. Nothing listens beyond loopback."""
    dask.config.set(
        {
            # A worker's death is judged by the dispatcher, which knows what ran there; Dask must not run it again.
            "distributed.scheduler.allowed-failures": 0,
            "distributed.scheduler.work-stealing": False,  # the dispatcher says which worker
            "distributed.admin.low-level-log-length": 10,  # outcomes travel as events; keep none of them
            "distributed.admin.event-loop": "tornado",
            "distributed.comm.timeouts.connect": "60s",
            "distributed.worker.daemon": False,  # a task may have child processes
            "distributed.worker.profile.enabled": False,
            "distributed.logging": {"distributed": "warning"},
        }
    )
    return await LocalCluster(
        n_workers=n_workers(),
        threads_per_worker=1,
        processes=True,
        asynchronous=True,
        host="127.0.0.1",
        protocol="tls",
        security=security(),
        dashboard_address="127.0.0.1:0",
        worker_dashboard_address="127.0.0.1:0",
        memory_limit=0,  # an hour-long task may use what the machine has, not a share of it
        silence_logs=False,
        env={"MPLBACKEND": "Agg"},
    )
