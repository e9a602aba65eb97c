"""`RemoteExecutor`: base of plug-ins that run tasks on another machine (Covalent's, by the same names)."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from covalab.executors.base import AsyncBaseExecutor

if TYPE_CHECKING:
    from asyncio.subprocess import Process

EXECUTOR_PLUGIN_NAME = "RemoteExecutor"
_EXECUTOR_PLUGIN_DEFAULTS = {"poll_freq": 15, "remote_cache": ".cache/covalent", "credentials_file": ""}


class RemoteExecutor(AsyncBaseExecutor):
    """An executor that uploads a task, submits it, polls its status and fetches its result.

    Parameters
    ----------
    poll_freq
        Seconds between two polls.
    remote_cache
        A folder on the other machine.
    credentials_file
        A file with credentials.
    covalent_version
        The version of Covalent required there.
    **kwargs
        Those of `AsyncBaseExecutor`.
    """

    def __init__(
        self,
        poll_freq: float = 15,
        remote_cache: str = "",
        credentials_file: str = "",
        covalent_version: str = "",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.poll_freq = poll_freq
        self.remote_cache = remote_cache
        self.credentials_file = credentials_file
        self.covalent_version = covalent_version

    @abstractmethod
    async def _validate_credentials(self, *args: Any, **kwargs: Any) -> bool:
        """Check the credentials."""

    @abstractmethod
    async def _upload_task(self, *args: Any, **kwargs: Any) -> Any:
        """Upload the task."""

    @abstractmethod
    async def submit_task(self, *args: Any, **kwargs: Any) -> Any:
        """Start the task."""

    @abstractmethod
    async def get_status(self, *args: Any, **kwargs: Any) -> Any:
        """Return the status of the task."""

    @abstractmethod
    async def _poll_task(self, *args: Any, **kwargs: Any) -> Any:
        """Poll the status until the task has ended."""

    @abstractmethod
    async def query_result(self, *args: Any, **kwargs: Any) -> Any:
        """Fetch the result of the task."""

    @abstractmethod
    async def cancel(self, *args: Any, **kwargs: Any) -> bool:
        """Stop the task."""

    @staticmethod
    async def run_async_subprocess(cmd: str) -> tuple[Process, bytes, bytes]:
        """Run a shell command. Return its process, its output and its error output."""
        import asyncio.subprocess  # noqa: PLC0415 - describing an executor needs no event loop

        process = await asyncio.create_subprocess_shell(
            cmd, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        stdout, stderr = await process.communicate()
        return process, stdout, stderr
