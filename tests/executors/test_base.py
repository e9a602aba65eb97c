"""What executors are given and may ask for, outside of a host."""

from __future__ import annotations

import asyncio
import inspect
import pickle
from pathlib import Path
from typing import Any

import pytest

from covalab.core.covalent_status import Status, status
from covalab.executors.base import AsyncBaseExecutor, BaseExecutor, Runtime, TaskCancelledError, TaskRuntimeError
from covalab.executors.dask import DaskExecutor
from covalab.executors.local import LocalExecutor
from covalab.executors.remote import RemoteExecutor


class Plain(BaseExecutor):
    """Writes down what happens."""

    def __init__(self, trouble: Exception | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.trouble = trouble
        self.seen: list[str] = []

    def setup(self, task_metadata: dict[str, Any]) -> None:
        """Write down."""
        self.seen.append("setup")

    def run(self, function: Any, args: list[Any], kwargs: dict[str, Any], task_metadata: dict[str, Any]) -> Any:
        """Fail or call."""
        self.seen.append("run")
        print("out")
        if self.trouble is not None:
            raise self.trouble
        return function(*args, **kwargs)

    def teardown(self, task_metadata: dict[str, Any]) -> None:
        """Write down."""
        self.seen.append("teardown")


class Slow(AsyncBaseExecutor):
    """The same, to be awaited."""

    async def run(self, function: Any, args: list[Any], kwargs: dict[str, Any], task_metadata: dict[str, Any]) -> Any:
        """Call."""
        await self.set_job_handle("job")
        assert await self.set_job_status(status.RUNNING)
        print("waiting")
        return function(*args, **kwargs)


def test_execute_sets_up_runs_and_tears_down(tmp_path: Path) -> None:
    """Value, both streams and the status come back."""
    it = Plain()

    assert it.execute(lambda x: x + 1, [1], {}, "id", str(tmp_path), 0) == (2, "out\n", "", status.COMPLETED)
    assert it.seen == ["setup", "run", "teardown"]


def test_signals_are_statuses(tmp_path: Path) -> None:
    """A failure's text is on stderr; teardown comes in any case."""
    failing = Plain(TaskRuntimeError("it broke"))
    assert failing.execute(len, [[]], {}, "id", str(tmp_path)) == (None, "out\n", "it broke\n", status.FAILED)
    cancelled = Plain(TaskCancelledError())
    assert cancelled.execute(len, [[]], {}, "id", str(tmp_path))[-1] == status.CANCELLED
    other = Plain(OSError("no way"))
    with pytest.raises(OSError, match="no way"):
        other.execute(len, [[]], {}, "id", str(tmp_path))
    assert failing.seen == cancelled.seen == other.seen == ["setup", "run", "teardown"]


def test_an_async_one_is_awaited(tmp_path: Path) -> None:
    """With what it tells of its job."""
    it, runtime = Slow(), Runtime()
    it._init_runtime(runtime)
    found = asyncio.run(it.execute(lambda x: x + 1, [1], {}, "id", str(tmp_path), 0))

    assert found == (2, "waiting\n", "", status.COMPLETED)
    assert (runtime.job_handle, runtime.job_status) == ("job", status.RUNNING)


def test_streams_are_written_where_they_are_wanted(tmp_path: Path) -> None:
    """Relative names below the dispatch's folder, absolute ones as they are, appended."""
    absolute = tmp_path / "deep" / "err.log"
    it = Plain(log_stdout="out.log", log_stderr=str(absolute))
    for _ in range(2):
        it.execute(len, [[]], {}, "id", str(tmp_path / "results"))

    assert (tmp_path / "results" / "id" / "out.log").read_text() == "out\nout\n"
    assert absolute.read_text() == ""


def test_a_description_makes_the_same_again() -> None:
    """`to_dict` has type, short name and attributes; nothing of a run is in it, nor in a pickle."""
    it = Plain(log_stdout="x", time_limit=5, retries=2)
    it._init_runtime()
    words = it.to_dict()

    assert (words["short_name"], words["attributes"]["time_limit"]) == ("test_base", 5)
    assert all(not name.startswith("_covalab") for name in words["attributes"])
    assert Plain().from_dict(words).__dict__ == words["attributes"]
    assert Plain(log_stdout="y").from_dict({}).log_stdout == "y"
    assert pickle.loads(pickle.dumps(LocalExecutor("/x"))).workdir == "/x"


def test_what_a_task_may_ask_for() -> None:
    """Whether it was cancelled, and the versions that closed it."""
    it, runtime = Plain(), Runtime()
    it._init_runtime(runtime)
    assert it.get_cancel_requested() is False
    runtime.cancel_requested = True
    assert it.get_cancel_requested() is True
    assert set(it.get_version_info()) == {"python", "covalent"}
    assert it.validate_status(Status("ANYTHING"))
    assert it.set_job_status("RUNNING") is False  # type: ignore[arg-type]
    assert it.cancel({}, None) is False
    with it.get_dispatch_context("info") as info:
        assert info == "info"


def test_a_remote_executor_must_be_filled_in() -> None:
    """Its steps are abstract; running a command is not."""
    with pytest.raises(TypeError, match="abstract"):
        RemoteExecutor()  # type: ignore[abstract]
    process, out, err = asyncio.run(RemoteExecutor.run_async_subprocess("echo hello; exit 3"))
    assert (process.returncode, out, err) == (3, b"hello\n", b"")


LOGS = {"log_stdout": "stdout.log", "log_stderr": "stderr.log"}
CONSTRUCTORS: dict[type, dict[str, Any]] = {
    BaseExecutor: {"log_stdout": "", "log_stderr": "", "cache_dir": "", "time_limit": -1, "retries": 0},
    AsyncBaseExecutor: {"log_stdout": "", "log_stderr": "", "cache_dir": "", "time_limit": -1, "retries": 0},
    LocalExecutor: {"workdir": "", "create_unique_workdir": None},
    DaskExecutor: {
        "scheduler_address": "",
        **LOGS,
        "conda_env": "",
        "cache_dir": "",
        "current_env_on_conda_fail": False,
        "workdir": "",
        "create_unique_workdir": None,
    },
    RemoteExecutor: {"poll_freq": 15, "remote_cache": "", "credentials_file": "", "covalent_version": ""},
}


@pytest.mark.parametrize("kind", CONSTRUCTORS, ids=lambda kind: kind.__name__)
def test_constructors_of_executors_are_covalents(kind: type) -> None:
    """The same arguments by position with the same defaults; others are swallowed as Covalent's do."""
    found = inspect.signature(kind).parameters.values()

    by_position = {it.name: it.default for it in found if it.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD}
    assert by_position == CONSTRUCTORS[kind]
    assert any(it.kind is inspect.Parameter.VAR_KEYWORD for it in found)
