"""Base classes of executors: Covalent's two, for plug-ins and for classes defined in a notebook.

An executor runs in the executor host of its environment, never in the dispatcher and never on a compute worker. It
calls a function with the arguments as given (serialized values), and returns the function's result.

The interface is Covalent's, ``executor/base.py``; a `Runtime` connects one task of it with the host.
"""

from __future__ import annotations

import copy
import io
import platform
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, TextIO

from covalab._version import __version__
from covalab.core.covalent_status import Status, status
from covalab.core.errors import TaskCancelledError, TaskRuntimeError
from covalab.executors.streams import printing_to

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["AsyncBaseExecutor", "BaseExecutor", "TaskCancelledError", "TaskRuntimeError"]

_RUNTIME: Final = "_covalab_runtime"


class Runtime:
    """Connection of one run of a task to its host: streams, cancellation, job handle. Unused outside of a host.

    Attributes
    ----------
    stdout, stderr
        The task's streams.
    cancel_requested
        Whether the task was cancelled.
    job_handle
        The executor's handle of the job that does the work, for its `cancel`.
    job_status
        The last status of that job that the executor set.
    """

    def __init__(self, stdout: TextIO | None = None, stderr: TextIO | None = None) -> None:
        self.stdout: Any = io.StringIO() if stdout is None else stdout
        self.stderr: Any = io.StringIO() if stderr is None else stderr
        self.cancel_requested = False
        self.job_handle: Any = None
        self.job_status: Status | None = None
        self.is_used = False


class _AbstractBaseExecutor(ABC):  # noqa: B024 - `run` is abstract in each of the two kinds
    """Common base of both kinds.

    Parameters
    ----------
    log_stdout, log_stderr
        Files for what a task prints, beside the dispatch's record; relative ones are under the results folder.
    cache_dir
        A folder for the executor's own files.
    time_limit
        Seconds that one run of a task may take, for electrons without a limit of their own; below 0: for ever.
    retries
        How often a failed run is tried again, for electrons without a number of their own.
    """

    SUPPORTS_MANAGED_EXECUTION: ClassVar[bool] = False

    def __init__(
        self,
        log_stdout: str = "",
        log_stderr: str = "",
        cache_dir: str = "",
        time_limit: float = -1,
        retries: int = 0,
        *args: Any,  # plug-ins pass what their own base once took
        **kwargs: Any,
    ) -> None:
        self.log_stdout = log_stdout
        self.log_stderr = log_stderr
        self.cache_dir = cache_dir
        self.time_limit = time_limit
        self.retries = retries

    def short_name(self) -> str:
        """Return the name by which the executor is found: the last part of its module's name."""
        return type(self).__module__.rpartition(".")[2]

    def to_dict(self) -> dict[str, Any]:
        """Return a description of the executor: ``type``, ``short_name`` and all its ``attributes``."""
        attributes = {name: copy.deepcopy(value) for name, value in self.__dict__.items() if name != _RUNTIME}
        return {"type": str(type(self)), "short_name": self.short_name(), "attributes": attributes}

    def from_dict(self, object_dict: dict[str, Any]) -> Self:
        """Set the attributes that `to_dict` described. An empty description changes nothing."""
        if object_dict:
            self.__dict__ = copy.deepcopy(object_dict["attributes"])
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != _RUNTIME}

    def get_dispatch_context(self, dispatch_info: Any) -> AbstractContextManager[Any]:
        """Return a context manager for the time in which the executor serves a dispatch."""
        return nullcontext(dispatch_info)

    def _init_runtime(self, runtime: Runtime | None = None, **_: Any) -> None:
        """Set the runtime of the task that is about to run."""
        self.__dict__[_RUNTIME] = runtime or Runtime()

    @property
    def _runtime(self) -> Runtime:
        if _RUNTIME not in self.__dict__:
            self._init_runtime()
        runtime: Runtime = self.__dict__[_RUNTIME]
        return runtime

    def _streams_of_a_run(self) -> tuple[Any, Any]:
        """Return the streams for one run; a second one outside of a host gets new ones."""
        if self._runtime.is_used:  # in a notebook: what the first run printed is not the second's
            self._init_runtime()
        self._runtime.is_used = True
        return self._runtime.stdout, self._runtime.stderr

    @property
    def task_stdout(self) -> Any:
        """The text buffer of the task's standard output."""
        return self._runtime.stdout

    @property
    def task_stderr(self) -> Any:
        """The text buffer of the task's standard error."""
        return self._runtime.stderr

    def validate_status(self, status: Status) -> bool:
        """Whether a job may have this status; a subclass may refuse more."""
        return isinstance(status, Status)

    def _set_job_status(self, job_status: Status) -> bool:
        if not self.validate_status(job_status):
            return False
        self._runtime.job_status = job_status
        return True

    @staticmethod
    def _versions() -> dict[str, str]:
        return {"python": platform.python_version(), "covalent": __version__}

    def _write_streams(
        self, stream_strings: Iterable[str], filepaths: Iterable[str], dispatch_id: str, results_dir: str
    ) -> None:
        for text, name in zip(stream_strings, filepaths, strict=False):
            if name:
                path = Path(results_dir, dispatch_id) / Path(name).expanduser()
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("a") as file:
                    file.write(text)


def _verdict(error: Exception, stderr: Any) -> Status:
    """Return the status that an executor's signal means."""
    if isinstance(error, TaskCancelledError):
        return status.CANCELLED
    # A plug-in may have printed it already, as Covalent's do.
    if str(error) and str(error) not in stderr.getvalue():
        print(error, file=stderr)
    return status.FAILED


class BaseExecutor(_AbstractBaseExecutor):
    r"""An executor with ordinary methods; each task of it has a thread of its own.

    Implement `run`; `setup`, `teardown` and `cancel` if there is something to do.

    Examples
    --------
    >>> class Here(BaseExecutor):
    ...     def run(self, function, args, kwargs, task_metadata):
    ...         print("node", task_metadata["node_id"])
    ...         return function(*args, **kwargs)
    >>> Here().execute(lambda x: x + 1, [1], {}, "some-id", ".", 0)
    (2, 'node 0\n', '', Status(STATUS='COMPLETED'))
    """

    @abstractmethod
    def run(self, function: Callable[..., Any], args: list[Any], kwargs: dict[str, Any], task_metadata: Any) -> Any:
        """Run a task and return what its function returns.

        Parameters
        ----------
        function
            Ready to be called: ``function(*args, **kwargs)``. Can be pickled and called elsewhere, by any Python that
            has covalab.
        args, kwargs
            The serialized arguments.
        task_metadata
            A dict with ``dispatch_id``, ``node_id`` and ``results_dir``.

        Raises
        ------
        TaskRuntimeError
            If the task failed; its traceback is expected on `task_stderr`.
        TaskCancelledError
            If it was cancelled.
        """

    def setup(self, task_metadata: dict[str, Any]) -> Any:
        """Prepare the resources of `run`."""

    def teardown(self, task_metadata: dict[str, Any]) -> Any:
        """Release the resources of `setup` and `run`, however the task ended."""

    def cancel(self, task_metadata: dict[str, Any], job_handle: Any) -> bool:
        """Stop the job of a task. Return whether it was stopped."""
        return False

    def get_cancel_requested(self) -> bool:
        """Whether the task was cancelled."""
        return self._runtime.cancel_requested

    def set_job_handle(self, handle: Any) -> None:
        """Set the handle of the job that does the work; `cancel` receives it."""
        self._runtime.job_handle = handle

    def set_job_status(self, status: Status) -> bool:
        """Set the status of the job. Return whether the status is valid."""
        return self._set_job_status(status)

    def get_version_info(self) -> dict[str, str]:
        """Return the versions of ``python`` and ``covalent`` that serialized the task."""
        return self._versions()

    def write_streams_to_file(
        self, stream_strings: Iterable[str], filepaths: Iterable[str], dispatch_id: str, results_dir: str
    ) -> None:
        """Append texts to files; relative names are under ``<results_dir>/<dispatch_id>/``, empty ones mean none."""
        self._write_streams(stream_strings, filepaths, dispatch_id, results_dir)

    def execute(
        self,
        function: Callable[..., Any],
        args: list[Any],
        kwargs: dict[str, Any],
        dispatch_id: str,
        results_dir: str,
        node_id: int = -1,
    ) -> tuple[Any, str, str, Status]:
        """Set up, run, tear down.

        Returns
        -------
        tuple
            The value (None unless it completed), what was printed, and the status.
        """
        metadata = {"dispatch_id": dispatch_id, "node_id": node_id, "results_dir": results_dir}
        stdout, stderr = self._streams_of_a_run()
        result: Any = None
        verdict = status.COMPLETED
        with printing_to(stdout, stderr):
            try:
                self.setup(task_metadata=metadata)
                result = self.run(function, args, kwargs, metadata)
            except (TaskRuntimeError, TaskCancelledError) as error:
                verdict = _verdict(error, stderr)
            finally:
                self.teardown(task_metadata=metadata)
        texts = (stdout.getvalue(), stderr.getvalue())
        self.write_streams_to_file(texts, (self.log_stdout, self.log_stderr), dispatch_id, results_dir)
        return result, *texts, verdict


class AsyncBaseExecutor(_AbstractBaseExecutor):
    """An executor whose methods are coroutines; all tasks of a host share one event loop.

    Everything of `BaseExecutor`, to be awaited.
    """

    @abstractmethod
    async def run(
        self, function: Callable[..., Any], args: list[Any], kwargs: dict[str, Any], task_metadata: Any
    ) -> Any:
        """Run a task and return what its function returns; see `BaseExecutor.run`."""

    async def setup(self, task_metadata: dict[str, Any]) -> Any:
        """Prepare the resources of `run`."""

    async def teardown(self, task_metadata: dict[str, Any]) -> Any:
        """Release the resources of `setup` and `run`, however the task ended."""

    async def cancel(self, task_metadata: dict[str, Any], job_handle: Any) -> bool:
        """Stop the job of a task. Return whether it was stopped."""
        return False

    async def get_cancel_requested(self) -> bool:
        """Whether the task was cancelled."""
        return self._runtime.cancel_requested

    async def set_job_handle(self, handle: Any) -> None:
        """Set the handle of the job that does the work; `cancel` receives it."""
        self._runtime.job_handle = handle

    async def set_job_status(self, status: Status) -> bool:
        """Set the status of the job. Return whether the status is valid."""
        return self._set_job_status(status)

    async def get_version_info(self) -> dict[str, str]:
        """Return the versions of ``python`` and ``covalent`` that serialized the task."""
        return self._versions()

    async def write_streams_to_file(
        self, stream_strings: Iterable[str], filepaths: Iterable[str], dispatch_id: str, results_dir: str
    ) -> None:
        """Append texts to files; relative names are under ``<results_dir>/<dispatch_id>/``, empty ones mean none."""
        self._write_streams(stream_strings, filepaths, dispatch_id, results_dir)

    async def execute(
        self,
        function: Callable[..., Any],
        args: list[Any],
        kwargs: dict[str, Any],
        dispatch_id: str,
        results_dir: str,
        node_id: int = -1,
    ) -> tuple[Any, str, str, Status]:
        """Set up, run, tear down; see `BaseExecutor.execute`."""
        metadata = {"dispatch_id": dispatch_id, "node_id": node_id, "results_dir": results_dir}
        stdout, stderr = self._streams_of_a_run()
        result: Any = None
        verdict = status.COMPLETED
        with printing_to(stdout, stderr):
            try:
                await self.setup(task_metadata=metadata)
                result = await self.run(function, args, kwargs, metadata)
            except (TaskRuntimeError, TaskCancelledError) as error:
                verdict = _verdict(error, stderr)
            finally:
                await self.teardown(task_metadata=metadata)
        texts = (stdout.getvalue(), stderr.getvalue())
        await self.write_streams_to_file(texts, (self.log_stdout, self.log_stderr), dispatch_id, results_dir)
        return result, *texts, verdict
