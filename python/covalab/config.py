"""Configuration: one TOML file, and environment variables that override it.

The file is `covalab.toml` in the Jupyter configuration directory, or the one that `COVALAB_CONFIG` names. Each process
reads it when it needs it; importing this module reads nothing. Only `change` writes it, whole or not at all; comments
and order stay.
"""

from __future__ import annotations

import fcntl
import functools
import os
import secrets
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args

import msgspec

from covalab.core.carriage import CacheSettings
from covalab.core.duration_text import parse_duration
from covalab.core.errors import ConfigError
from covalab.core.store_place import StorePlace, store_trouble

_LOCK_SECONDS: Final = 30.0
"""The time that others may hold the file; a change takes a millisecond, or fifty where the disk is busy."""

Flag = bool | Literal["true", "false"]
"""Covalent writes its switches as the texts "true" and "false"; TOML's own are understood as well."""

LogLevel = Literal["debug", "info", "warning", "error", "critical"]


class SdkConfig(msgspec.Struct, frozen=True):
    """Section `[sdk]`: settings of programs that build, dispatch and read.

    Attributes
    ----------
    results_dir
        Where results are written to when files are asked for; empty: ``results`` in the data folder. Environment:
        ``COVALAB_RESULTS_DIR`` or ``COVALENT_RESULTS_DIR``.
    executor_dir
        Folders with executor plug-ins, separated by colons. Environment: ``COVALAB_EXECUTOR_DIR`` or
        ``COVALENT_EXECUTOR_DIR``.
    log_level
        How much the dispatcher writes to its log, from its next start on; empty: ``info``. Environment:
        ``COVALAB_LOG_LEVEL`` or ``LOGLEVEL``.
    no_cluster
        Whether electrons that name no executor run on ``local`` instead of ``dask``. Environment:
        ``COVALAB_NO_CLUSTER`` or ``COVALENT_DISABLE_DASK``.
    exhaustive_postprocess
        Whether a lattice's value is found by running its function again with the recorded outputs, instead of by
        putting together what it returned. Environment: ``COVALAB_EXHAUSTIVE_POSTPROCESS``.
    strict_lattices
        Whether a lattice's body raises where it asks for a value that is still to come (``if e``, ``e == 1``,
        ``int(e)``, ``list(e)``, ``for x in e``, ``e.method()``). If not, it goes on with Covalent's answer, which is
        about the stand-in, and warns. ``"auto"``: yes, but not behind the doorway for programs that import Covalent.
        Environment: ``COVALAB_STRICT_LATTICES``.
    stream_items
        How many items of the stream of one dispatch are kept; when there are more, the oldest are dropped, and
        readers get their number. Read when the dispatcher starts. Environment: ``COVALAB_STREAM_ITEMS``.
    """

    results_dir: str = ""
    executor_dir: str = ""
    log_level: LogLevel | Literal[""] = ""
    no_cluster: Flag = False
    exhaustive_postprocess: Flag = False
    strict_lattices: Flag | Literal["auto"] = "auto"
    stream_items: int = 10_000


class ClusterConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Section `[clusters.NAME]`: a cluster of another's, on which electrons run that name it as their executor.

    One of `scheduler_address`, `scheduler_file`, `cluster_class` and `gateway_cluster` says which it is.

    Attributes
    ----------
    scheduler_address
        A scheduler that is already running, ``tcp://host:port`` or ``tls://host:port``; its workers must have covalab.
        Environment: ``COVALAB_DASK_SCHEDULER_ADDRESS``.
    scheduler_file
        The file in which a scheduler that is running has written its address (``dask scheduler --scheduler-file``).
    tls_ca_file, tls_client_cert, tls_client_key
        Paths of the PEM files for a ``tls://`` address.
    cluster_class
        A Dask cluster class by its full name, e.g. ``dask_jobqueue.SLURMCluster``, ``dask_gateway.GatewayCluster`` or
        ``dask_kubernetes.operator.KubeCluster``. Environment: ``COVALAB_DASK_CLUSTER_CLASS``.
    cluster_kwargs
        Its keyword arguments; with `gateway_cluster`, those of ``dask_gateway.Gateway``.
    gateway_cluster
        The name of a cluster that is running at a Dask Gateway.
    num_workers
        How many workers a local cluster starts with, or how many a `cluster_class` is scaled to (0: as it comes).
        Environment: ``COVALAB_WORKERS``.
    minimum, maximum
        Between how many workers a `cluster_class` is scaled, by what waits for one. `maximum` 0: it is not.
    idle_minutes
        After how many minutes without work such a worker is let go.
    resources
        What each worker offers besides processors and memory, e.g. ``{GPU = 1}``. It need not be given for workers
        that are there and say it themselves (``dask worker --resources``).
    walltime
        How long a job of a batch system may run, e.g. ``"1 h"`` or ``"01:00:00"``; what `cluster_kwargs` says, if
        empty.
    """

    scheduler_address: str = ""
    scheduler_file: str = ""
    tls_ca_file: str = ""
    tls_client_cert: str = ""
    tls_client_key: str = ""
    cluster_class: str = ""
    cluster_kwargs: dict[str, Any] = {}
    gateway_cluster: str = ""
    num_workers: Annotated[int, msgspec.Meta(ge=0)] = 0
    minimum: Annotated[int, msgspec.Meta(ge=0)] = 0
    maximum: Annotated[int, msgspec.Meta(ge=0)] = 0
    idle_minutes: Annotated[float, msgspec.Meta(ge=0)] = 5.0
    resources: dict[str, float] = {}
    walltime: str = ""

    @property
    def ways(self) -> list[str]:
        """The keys that say which cluster it is, of which only one may be given."""
        names = ("scheduler_address", "scheduler_file", "cluster_class", "gateway_cluster")
        return [name for name in names if getattr(self, name)]


class DaskConfig(ClusterConfig, frozen=True, forbid_unknown_fields=True):
    """Section `[dask]`: the cluster that runs batches of electrons that name no other one.

    With no cluster of another's, a pool starts a local one of `num_workers` processes (0: one per core).

    Attributes
    ----------
    mem_per_worker
        How much memory a worker of a local cluster may take, e.g. ``"4 GB"``; one that takes more is ended. ``"auto"``:
        as much as there is. Environment: ``COVALAB_MEM_PER_WORKER``.
    start_method
        How the process of a dispatch is started: ``"fork"``, in milliseconds, or ``"spawn"``, where a fork is not safe.
        ``"auto"``: forked on Linux. Environment: ``COVALAB_START_METHOD``.
    silent_seconds
        How long a worker, or the process of a pool, may give no sign of life while it has something to do; then it is
        taken for lost, and what it ran runs again. 0: for ever. Environment: ``COVALAB_SILENT_SECONDS``.
    """

    mem_per_worker: str | int = "auto"
    start_method: Literal["auto", "fork", "spawn"] = "auto"
    silent_seconds: Annotated[float, msgspec.Meta(ge=0, le=1e7)] = 60.0

    def at_home(self) -> DaskConfig:
        """Return the section as it is for a cluster on this machine, whatever cluster it names."""
        if not self.ways:
            return self
        # With a class, the number is how many workers that is scaled to.
        n_workers = 0 if self.cluster_class else self.num_workers
        own = {name: getattr(self, name) for name in ("mem_per_worker", "start_method", "silent_seconds")}
        return DaskConfig(num_workers=n_workers, **own)

    def with_cluster(self, cluster: ClusterConfig) -> DaskConfig:
        """Return the section as it would be for another cluster."""
        return msgspec.structs.replace(self, **msgspec.structs.asdict(cluster))

    @property
    def forks(self) -> bool:
        """Whether processes for user code, and the workers of our own cluster, are forked from one that is ready."""
        return self.start_method == "fork" or (self.start_method == "auto" and sys.platform == "linux")


class DataConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Section `[data]`: values on hosts that do not see the data folder.

    Attributes
    ----------
    cache_dir
        The folder in which the cache of a worker's host is made; empty: where Dask keeps that worker's own folder
        (``--local-directory``). Environment: ``COVALAB_CACHE_DIR``.
    cache_gb
        How many gigabytes of values a cache may have; the least recently used go first. It never takes more than half
        of what its disk has for it. Environment: ``COVALAB_CACHE_GB``.
    keep_cache
        Whether a cache stays when the last worker that uses it has ended. Environment: ``COVALAB_KEEP_CACHE``.
    url
        An object store through which values travel to and from these hosts, ``s3://bucket/prefix`` or another address
        of fsspec's; empty: over Dask's connection. Environment: ``COVALAB_DATA_URL``.
    storage_options
        Options of fsspec's file system for it, e.g. ``{endpoint_url = "http://minio:9000"}``. Secrets are not among
        them: each side has them where the package looks for them (``AWS_ACCESS_KEY_ID`` ...).
    """

    cache_dir: str = ""
    cache_gb: Annotated[float, msgspec.Meta(ge=0, le=1e9)] = 10.0
    keep_cache: Flag = False
    url: str = ""
    storage_options: dict[str, Any] = {}

    @property
    def store(self) -> StorePlace | None:
        """The object store, if there is one."""
        return StorePlace(self.url, self.storage_options) if self.url else None

    @property
    def settings(self) -> CacheSettings:
        """The settings as workers get them."""
        return CacheSettings(self.cache_dir, int(self.cache_gb * 1e9), is_on(self.keep_cache))


class ResultsConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Section `[results]`: retention of dispatches.

    Attributes
    ----------
    ttl
        How long after its end a dispatch is kept, in seconds or as text: ``"12 h"``, ``"30 days"``. Older ones are
        deleted by the dispatcher, as by `ct.purge_results`, when it starts and then at least once an hour. Empty:
        for ever. Read when the dispatcher starts. Environment: ``COVALAB_RESULTS_TTL``.
    """

    ttl: str | int | float = ""

    def __post_init__(self) -> None:
        _ = self.seconds  # raises for a text that is no duration, so that reading the file does

    @property
    def seconds(self) -> float | None:
        """The duration in seconds, or None."""
        return None if self.ttl == "" else parse_duration(self.ttl)


class Config(msgspec.Struct, frozen=True):
    """Whole configuration file. Other sections are ignored."""

    sdk: SdkConfig = SdkConfig()
    dask: DaskConfig = DaskConfig()
    executors: dict[str, dict[str, Any]] = {}
    clusters: dict[str, ClusterConfig] = {}
    results: ResultsConfig = ResultsConfig()
    data: DataConfig = DataConfig()


VARIABLES: Final[Mapping[str, tuple[str, ...]]] = {
    "sdk.results_dir": ("COVALAB_RESULTS_DIR", "COVALENT_RESULTS_DIR"),
    "sdk.executor_dir": ("COVALAB_EXECUTOR_DIR", "COVALENT_EXECUTOR_DIR"),
    "sdk.log_level": ("COVALAB_LOG_LEVEL", "LOGLEVEL"),
    "sdk.no_cluster": ("COVALAB_NO_CLUSTER", "COVALENT_DISABLE_DASK"),
    "sdk.exhaustive_postprocess": ("COVALAB_EXHAUSTIVE_POSTPROCESS",),
    "sdk.strict_lattices": ("COVALAB_STRICT_LATTICES",),
    "sdk.stream_items": ("COVALAB_STREAM_ITEMS",),
    "dask.scheduler_address": ("COVALAB_DASK_SCHEDULER_ADDRESS",),
    "dask.cluster_class": ("COVALAB_DASK_CLUSTER_CLASS",),
    "dask.num_workers": ("COVALAB_WORKERS",),
    "dask.mem_per_worker": ("COVALAB_MEM_PER_WORKER",),
    "dask.start_method": ("COVALAB_START_METHOD",),
    "dask.silent_seconds": ("COVALAB_SILENT_SECONDS",),
    "results.ttl": ("COVALAB_RESULTS_TTL",),
    "data.cache_dir": ("COVALAB_CACHE_DIR",),
    "data.cache_gb": ("COVALAB_CACHE_GB",),
    "data.keep_cache": ("COVALAB_KEEP_CACHE",),
    "data.url": ("COVALAB_DATA_URL",),
}
"""The environment variables that override the file, the first that is set of each. An empty one counts as unset."""

_NUMBERS: Final[Mapping[str, type[int | float]]] = {
    "dask.num_workers": int,
    "sdk.stream_items": int,
    "dask.silent_seconds": float,
    "data.cache_gb": float,
}
RESERVED: Final = ("local", "dask")
"""Names of executors that no cluster may have."""

_ON: Final = {"1": "true", "yes": "true", "on": "true", "0": "false", "no": "false", "off": "false"}


def config_file() -> Path:
    """Return the path of the configuration file, whether or not it exists.

    `COVALAB_CONFIG` names the file; else it is `covalab.toml` in the folder `COVALENT_CONFIG_DIR`, if that is set, and
    in the Jupyter configuration directory, if not.
    """
    chosen = os.environ.get("COVALAB_CONFIG")
    if chosen:
        return Path(chosen).expanduser().absolute()
    covalents = os.environ.get("COVALENT_CONFIG_DIR")
    if covalents:
        return Path(covalents).expanduser().absolute() / "covalab.toml"
    return jupyter_folder() / "covalab.toml"


def jupyter_folder() -> Path:
    """Return the Jupyter configuration directory."""
    return _jupyters(tuple(map(os.environ.get, _OF_JUPYTER)))


_OF_JUPYTER: Final = ("HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_NO_CONFIG", "JUPYTER_PLATFORM_DIRS", "XDG_CONFIG_HOME")


@functools.lru_cache(maxsize=4)  # asked for several times by each dispatch
def _jupyters(_variables: tuple[str | None, ...]) -> Path:
    """Return the Jupyter configuration directory, which follows from these variables."""
    from jupyter_core.paths import jupyter_config_dir  # noqa: PLC0415 - 30 ms that a chosen file does not need

    return Path(jupyter_config_dir())


def load() -> Config:
    """Read the configuration.

    Raises
    ------
    ConfigError
        If the file is not TOML, has an unknown key or a value of the wrong type, or two keys that exclude each
        other; the message names file and key.

    Examples
    --------
    >>> import os
    >>> os.environ["COVALAB_CONFIG"] = "/nowhere/covalab.toml"
    >>> load().dask.scheduler_address
    ''
    """
    path = config_file()
    found = _written(path)
    _checked(found, path)  # a wrong value in the file is an error even where a variable overrides it
    config = _checked(_with_variables(found), path)
    _check_clusters(config, path)
    if what := store_trouble(config.data.url, config.data.storage_options):
        raise ConfigError(str(path), what)
    return config


def sdk() -> SdkConfig:
    """Read only section `[sdk]`: an error elsewhere must not stop a program that dispatches.

    Raises
    ------
    ConfigError
        If the file is not TOML, or a value of the section has the wrong type.
    """
    path = config_file()
    found = _with_variables({"sdk": _written(path).get("sdk", {})})
    return _checked({"sdk": found.get("sdk", {})}, path).sdk


def results() -> ResultsConfig:
    """Read only section `[results]`.

    Raises
    ------
    ConfigError
        If the file is not TOML, or the section has a wrong value.
    """
    path = config_file()
    found = _with_variables({"results": _written(path).get("results", {})})
    return _checked({"results": found.get("results", {})}, path).results


def silent_seconds() -> float:
    """Read `dask.silent_seconds`, for the dispatcher: what is wrong in the file is the pool's to report."""
    try:
        return load().dask.silent_seconds
    except ConfigError:
        return DaskConfig().silent_seconds


def has_cluster() -> bool:
    """Tell whether batches run on a cluster that the file names; what is wrong in it is the pool's to report."""
    try:
        dask = load().dask
    except ConfigError:
        return False
    return bool(dask.ways)


def cluster_names() -> frozenset[str]:
    """Return the names of sections `[clusters.NAME]`; none if the file is wrong, which others report."""
    try:
        return frozenset(load().clusters)
    except ConfigError:
        return frozenset()


def of_cluster(name: str) -> DaskConfig:
    """Return section `[dask]` as it is for a named cluster.

    Raises
    ------
    ConfigError
        If the file is wrong, or has no such cluster.
    """
    config = load()
    if name not in config.clusters:
        known = ", ".join(sorted(config.clusters)) or "none"
        what = f"there is no section [clusters.{name}]; those there are: {known}"
        raise ConfigError(str(config_file()), what)
    return config.dask.with_cluster(config.clusters[name])


def raw() -> dict[str, Any]:
    """Return all values by section: those of the file, overridden by the environment."""
    return _with_variables(_written(config_file()))


def is_on(flag: Flag) -> bool:
    """Tell whether a switch is on.

    Examples
    --------
    >>> is_on("true"), is_on(False)
    (True, False)
    """
    return flag is True or flag == "true"


def change(new: Mapping[str, Any]) -> None:
    """Write values into the file, which is made if it is not there.

    Several processes may do so at once: each change is applied to the file as the one before left it.

    Parameters
    ----------
    new
        Values by dotted key, e.g. ``{"dask.num_workers": 4}``. None takes a key out: its default holds again.

    Raises
    ------
    ConfigError
        If the file cannot be read or written, or the result would not be a configuration: the file is as it was.
    """
    import tomlkit.exceptions  # noqa: PLC0415 - only writing needs a parser that keeps comments

    path = Path(os.path.realpath(config_file()))  # the file that a link points to, not the link
    where = str(path)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(path):
            text = path.read_text() if path.exists() else ""
            document = tomlkit.parse(text)
            for key, value in new.items():
                _set(tomlkit, document, key, value)
            written = tomlkit.dumps(document)
            _checked(msgspec.toml.decode(written.encode(), type=dict[str, Any]), path)
            if written != text:
                _replace(path, written)
    except (tomlkit.exceptions.TOMLKitError, msgspec.MsgspecError) as error:
        raise ConfigError(where, str(error)) from error
    except OSError as error:
        what = f"{error.strerror}; make it writable, or name another file with COVALAB_CONFIG"
        raise ConfigError(where, what) from error


def _written(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = msgspec.toml.decode(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (msgspec.MsgspecError, ValueError, OSError) as error:
        raise ConfigError(str(path), str(error)) from error
    return found


def _with_variables(found: dict[str, Any]) -> dict[str, Any]:
    for key, names in VARIABLES.items():
        name = next((name for name in names if os.environ.get(name)), None)
        if name is None:
            continue
        value = _from_text(key, name, os.environ[name])
        section, _, last = key.partition(".")
        table = found.setdefault(section, {})
        if value is not None and isinstance(table, dict):  # else the check says so
            table[last] = value
    return found


def _from_text(key: str, variable: str, text: str) -> Any:
    number = _NUMBERS.get(key)
    if number is not None:
        try:
            return number(text)
        except ValueError as error:
            where = f"the environment variable {variable}"
            raise ConfigError(where, str(error)) from error
    if key in ("sdk.no_cluster", "sdk.exhaustive_postprocess", "data.keep_cache"):
        return _ON.get(text.lower(), text.lower())
    if key == "sdk.log_level":
        # LOGLEVEL is for all programs: a level that only others know is ignored.
        return text.lower() if text.lower() in get_args(LogLevel) else None
    return text


def _checked(found: dict[str, Any], path: Path) -> Config:
    try:
        return msgspec.convert(found, Config)
    except msgspec.ValidationError as error:
        raise ConfigError(str(path), str(error)) from error


def _check_clusters(config: Config, path: Path) -> None:
    sections: dict[str, ClusterConfig] = {f"clusters.{name}": found for name, found in config.clusters.items()}
    for name, cluster in {"dask": config.dask, **sections}.items():
        keys = [f"{name}.{key}" for key in cluster.ways]
        what = ""
        if len(keys) > 1:
            what = f"{' and '.join(keys)} exclude each other; keep one"
        elif not keys and name != "dask":
            what = f"[{name}] needs one of scheduler_address, scheduler_file, cluster_class and gateway_cluster"
        elif name.partition(".")[2] in RESERVED:
            what = f"[{name}]: `local` is this machine and `dask` the default; give the cluster another name"
        elif cluster.maximum and (not cluster.cluster_class or cluster.minimum > cluster.maximum):
            what = f"{name}.maximum goes with {name}.cluster_class, and is at least {name}.minimum"
        elif cluster.minimum and not cluster.maximum:
            what = f"{name}.minimum is nothing without {name}.maximum"
        if what:
            raise ConfigError(str(path), what)


def _set(toml: Any, document: Any, key: str, value: Any) -> None:
    *sections, last = key.split(".")
    table = document
    for depth, section in enumerate(sections):
        if section not in table:
            if value is None:
                return
            # Only the innermost has a heading of its own: `[executors.slurm]` alone says it all.
            table[section] = toml.table(is_super_table=depth < len(sections) - 1)
        table = table[section]
        if not isinstance(table, dict):
            message = f"{'.'.join(sections[: depth + 1])} has a value, {key} cannot be below it"
            raise ConfigError(str(config_file()), message)
    if value is None:
        table.pop(last, None)
        return
    try:
        table[last] = toml.item(os.fspath(value) if isinstance(value, os.PathLike) else value)
    except (ValueError, TypeError) as error:
        what = f"{key} = {value!r}: a value is text, a number, a truth value, or a list or dict of these"
        raise ConfigError(str(config_file()), what) from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of the file. The system releases it when its process ends."""
    fd = os.open(path.with_name(f".{path.name}.lock"), os.O_CREAT | os.O_RDWR, 0o600)
    deadline = time.monotonic() + _LOCK_SECONDS
    try:
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    what = f"another process has been writing it for {_LOCK_SECONDS:g} s; try again"
                    raise ConfigError(str(path), what) from None
                time.sleep(0.005)
            except OSError:
                break  # a file system without locks: the file is still replaced as a whole
        yield
    finally:
        os.close(fd)


def _replace(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
    try:
        with os.fdopen(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode), "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def default_workers() -> int:
    """Return the default number of workers of a local cluster: one per core that this process may use.

    ``CPU_LIMIT`` is what a spawner of JupyterHub says of its limit for a user's server.
    """
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        cores = os.cpu_count() or 1
    try:
        limit = float(os.environ.get("CPU_LIMIT") or "inf")
    except ValueError:  # of something else
        return cores
    return max(1, int(min(cores, limit))) if limit > 0 else cores
