"""`DaskExecutor`: tasks run on a Dask cluster, the pool's or another. A description: no code of it runs there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from covalab.executors.base import AsyncBaseExecutor

EXECUTOR_PLUGIN_NAME = "DaskExecutor"
_EXECUTOR_PLUGIN_DEFAULTS = {
    "log_stdout": "stdout.log",
    "log_stderr": "stderr.log",
    "cache_dir": "",
    "workdir": "",
    "create_unique_workdir": False,
}


class DaskExecutor(AsyncBaseExecutor):
    """Run tasks on Dask.

    Parameters
    ----------
    scheduler_address
        A running scheduler, e.g. ``tcp://host:8786``, whose workers have covalab; the pool of
        the dispatch's environment, if not given.
    log_stdout, log_stderr
        Files for what a task prints, beside the dispatch's record.
    conda_env
        The name or folder of a conda environment whose Python runs the tasks; covalab must be installed in it.
    cache_dir
        Covalent's; values are kept in the data folder.
    current_env_on_conda_fail
        Whether the tasks run in the dispatch's own environment when that one cannot be had.
    workdir
        The tasks' current folder, made if it is not there; relative to the notebook's, which is the default.
    create_unique_workdir
        Whether each task has a folder of its own in it: ``<dispatch id>/node_<number>``.
    **kwargs
        ``time_limit`` and ``retries``, as in `BaseExecutor`.
    """

    def __init__(
        self,
        scheduler_address: str = "",
        log_stdout: str = "stdout.log",
        log_stderr: str = "stderr.log",
        conda_env: str = "",
        cache_dir: str = "",
        current_env_on_conda_fail: bool = False,
        workdir: str = "",
        create_unique_workdir: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(log_stdout, log_stderr, cache_dir, **kwargs)
        self.scheduler_address = scheduler_address
        self.conda_env = conda_env
        self.current_env_on_conda_fail = current_env_on_conda_fail
        self.workdir = workdir
        self.create_unique_workdir = bool(create_unique_workdir)

    async def run(
        self,
        function: Callable[..., Any],
        args: list[Any],
        kwargs: dict[str, Any],
        task_metadata: Any,
    ) -> Any:
        """Call the function. Only for subclasses: they run in the executor host, like every other executor."""
        import asyncio  # noqa: PLC0415 - describing an executor needs no event loop

        return await asyncio.to_thread(function, *args, **kwargs)
