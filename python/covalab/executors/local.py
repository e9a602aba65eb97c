"""`LocalExecutor`: tasks run in a pool on this machine. A description: no code of it runs there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from covalab.executors.base import BaseExecutor

EXECUTOR_PLUGIN_NAME = "LocalExecutor"
_EXECUTOR_PLUGIN_DEFAULTS = {
    "log_stdout": "stdout.log",
    "log_stderr": "stderr.log",
    "cache_dir": "",
    "workdir": "",
    "create_unique_workdir": False,
}


class LocalExecutor(BaseExecutor):
    """Run tasks on this machine, also where the configuration names a cluster, which then runs all other tasks.

    Parameters
    ----------
    workdir
        The tasks' current folder, made if it is not there; relative to the notebook's, which is the default.
    create_unique_workdir
        Whether each task has a folder of its own in it: ``<dispatch id>/node_<number>``.
    conda_env
        The name or folder of a conda environment whose Python runs the tasks; covalab must be installed in it.
    current_env_on_conda_fail
        Whether the tasks run in the dispatch's own environment when that one cannot be had.
    *args, **kwargs
        Those of `BaseExecutor`.
    """

    def __init__(
        self,
        workdir: str = "",
        create_unique_workdir: bool | None = None,
        *args: Any,
        conda_env: str = "",
        current_env_on_conda_fail: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.workdir = workdir
        self.create_unique_workdir = bool(create_unique_workdir)
        self.conda_env = conda_env
        self.current_env_on_conda_fail = current_env_on_conda_fail

    def run(self, function: Callable[..., Any], args: list[Any], kwargs: dict[str, Any], task_metadata: Any) -> Any:
        """Call the function. Only for subclasses: they run in the executor host, like every other executor."""
        return function(*args, **kwargs)
