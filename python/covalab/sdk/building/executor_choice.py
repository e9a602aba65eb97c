"""Executor of a node, in the words of a graph: a name, or an instance that travels.

An instance of a built-in executor is a description of a place in our pools. Every other instance travels pickled with
the dispatch, so its class may be defined in the notebook; the description is for reading.
"""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol, TypeAlias

from covalab import config
from covalab.core.errors import ExecutorNotFound, GraphError
from covalab.core.model import Settings
from covalab.core.placement import POOLED, pool_key
from covalab.dispatcher.interpreters import InterpreterNotFound, interpreter_of
from covalab.sdk import doorway
from covalab.sdk.building.user_warnings import warn_user
from covalab.sdk.environment import environment
from covalab.sdk.values import FieldDict, UserValue

_DESCRIBED: Final = ("covalab.executors.local", "covalab.executors.dask")
"""The modules of executors that are nothing but their description."""

_DEPTH: Final = 6


class ExecutorInstance(Protocol):
    """Object of an executor class, as far as a graph reads it. It also has `run`, whose signature differs by class."""

    def short_name(self) -> str:
        """Return the name of the kind of executor."""
        ...

    def to_dict(self) -> FieldDict:
        """Return it as a dictionary."""
        ...


ExecutorSpec: TypeAlias = "str | ExecutorInstance"
"""An executor as users write it: by name, or an instance."""


class ExecutorChoice(NamedTuple):
    """Executor as a graph speaks of it. `retries` and `time_limit` are for electrons that have none of their own.

    `instance` is the executor itself where that travels with the dispatch; `in_pool` says that tasks run in one of our
    pools, on this machine or on a cluster.
    """

    name: str
    data: FieldDict
    retries: int = 0
    time_limit: float | None = None
    instance: ExecutorInstance | None = None
    in_pool: bool = False


def is_executor(executor: object) -> bool:
    """Return whether an object looks like an executor, without loading the executors."""
    return all(callable(getattr(executor, method, None)) for method in ("short_name", "to_dict", "run"))


def executor_words(executor: ExecutorSpec | None) -> tuple[str | None, FieldDict | None]:
    """Return an executor as Covalent's metadata has it: its short name, and the description of an instance."""
    if executor is None or isinstance(executor, str):
        return executor, None if executor is None else {}
    return executor.short_name(), _words(executor)


def executor_choice(executor: ExecutorSpec, electron: str) -> ExecutorChoice:
    """Return an executor as a graph speaks of it; warn if there is no executor of this name here.

    Its nodes fail then, and those beside them run: a program may name one that only some of its electrons need.

    Raises
    ------
    GraphError
        If it is neither a name nor an executor.
    """
    if isinstance(executor, str):
        if _is_described(executor, electron):
            return executor_choice(_configured(executor), electron)
        return ExecutorChoice(executor, {}, in_pool=executor in POOLED or executor in config.cluster_names())
    if not is_executor(executor):
        message = f"electron {electron!r}: an executor is a name or an instance of an executor class, not {executor!r}"
        raise GraphError(message)
    limit, retries = getattr(executor, "time_limit", None), getattr(executor, "retries", 0)
    travels = type(executor).__module__ not in _DESCRIBED
    words = _words(executor)
    if not travels and doorway.is_open():
        _fall_back(words)
    return ExecutorChoice(
        executor.short_name(),
        words,
        retries if isinstance(retries, int) and retries > 0 else 0,
        float(limit) if isinstance(limit, int | float) and limit > 0 else None,
        executor if travels else None,
        not travels,
    )


def _fall_back(words: FieldDict) -> None:
    """Let tasks run in the current environment where a conda environment cannot be had, and warn if it is not there.

    Covalent's executors do not look at it, so its programs name some that there are not.
    """
    attributes = words.get("attributes") or {}
    if not attributes.get("conda_env") or attributes.get("current_env_on_conda_fail"):
        return
    attributes["current_env_on_conda_fail"] = True
    here = environment()
    try:
        interpreter_of(pool_key(here, Settings(words["short_name"], words)), here)
    except InterpreterNotFound as error:
        warn_user(f"{error}; its tasks run in the current environment, as in Covalent")


def _is_described(name: str, electron: str) -> bool:
    """Return whether a name means an instance that is made here, of the settings here."""
    if name in POOLED:
        return bool(config.load().executors.get(name))
    if name in config.cluster_names():
        return False
    from covalab.executors.manager import _executor_manager  # noqa: PLC0415 - it looks for plug-ins

    try:
        _executor_manager.find(name)
    except ExecutorNotFound as error:
        warn_user(str(ExecutorNotFound(name, electron, error.known, error.why)))
        return False
    # The executor host may have been started with other folders, or before this one was named.
    return _executor_manager.is_in_a_folder(name)


def _configured(name: str) -> ExecutorInstance:
    """Return an executor with the settings of its configuration section."""
    from covalab.executors.manager import _executor_manager  # noqa: PLC0415 - it looks for plug-ins

    executor: ExecutorInstance = _executor_manager.get_executor(name)
    return executor


def _words(executor: ExecutorInstance) -> FieldDict:
    try:
        words = executor.to_dict()
    except Exception:  # noqa: BLE001 - an attribute cannot be copied; the instance travels all the same
        return {"type": str(type(executor)), "short_name": executor.short_name(), "attributes": {}}
    found = _plain(words, _DEPTH)
    return found if isinstance(found, dict) else {}


def _plain(value: UserValue, depth: int) -> UserValue:
    """Return a value as JSON can hold it; what it cannot, as text."""
    if value is None or isinstance(value, bool | float | str):
        return value
    if isinstance(value, int):
        return value if value.bit_length() < 64 else str(value)
    if depth and isinstance(value, dict):
        return {str(key): _plain(one, depth - 1) for key, one in value.items()}
    if depth and isinstance(value, list | tuple | set):
        return [_plain(one, depth - 1) for one in value]
    return str(value)
