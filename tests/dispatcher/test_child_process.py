"""Child processes: how they start, die, are replaced, and end with all that they started."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from covalab.dispatcher import child_process
from covalab.dispatcher.child_process import ChildProcess, ProcessEnd


def child_in(folder: Path) -> ChildProcess:
    """Return a child whose log is in a folder that does not exist yet."""
    return ChildProcess("a child", folder / "logs" / "child.log")


def is_alive(pid: int) -> bool:
    """Whether a process runs, or is only not buried yet."""
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def test_the_last_line_names_the_error(tmp_path: Path) -> None:
    """Of one that died nothing else is left than its log; a new start begins it anew."""

    async def main() -> None:
        child = child_in(tmp_path)
        assert child.last_line() == "it said nothing"
        await child.start([sys.executable, "-c", "import nowhere"], folder=tmp_path, variables={})
        assert await child.wait(timeout=240)
        assert child.last_line() == "ModuleNotFoundError: No module named 'nowhere'"
        await child.start([sys.executable, "-c", ""], folder=tmp_path, variables={})
        assert await child.wait(timeout=240)
        assert child.log_tail() == ""

    asyncio.run(main())


def test_variables_are_the_kernels_and_not_the_dispatchers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What would change its imports is not inherited; what the kernel had is there, whatever it is."""
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    monkeypatch.setenv("INHERITED", "yes")
    names = "'PYTHONPATH', 'INHERITED', 'VIRTUAL_ENV'"
    code = f"import os; print([os.environ.get(name) for name in ({names})], os.getcwd())"

    async def main() -> str:
        child = child_in(tmp_path)
        await child.start([sys.executable, "-c", code], folder=tmp_path, variables={"VIRTUAL_ENV": "/mine"})
        assert await child.wait(timeout=240)
        return child.last_line()

    assert asyncio.run(main()) == f"[None, 'yes', '/mine'] {tmp_path}"


def test_who_waits_is_woken_by_what_comes_first(tmp_path: Path) -> None:
    """The end, what else was waited for, or the time."""

    async def main() -> None:
        child = child_in(tmp_path)
        await child.start([sys.executable, "-c", "input()"], folder=tmp_path, variables={})
        assert await child.wait(timeout=240)  # it has no input
        await child.start([sys.executable, "-c", "import time; time.sleep(600)"], folder=tmp_path, variables={})
        assert not await child.wait(timeout=0.01)
        assert not await child.wait(asyncio.ensure_future(asyncio.sleep(0.01)), timeout=60)
        await child.stop()

    asyncio.run(main())


def test_its_whole_session_ends(tmp_path: Path) -> None:
    """What it has started ends with it, also when it is stopped while nobody looks."""
    code = "import subprocess, time; print(subprocess.Popen(['sleep', '600']).pid, flush=True); time.sleep(600)"

    async def main() -> tuple[int, int]:
        child = child_in(tmp_path)

        async def run_once() -> ProcessEnd:
            await child.start([sys.executable, "-c", code], folder=tmp_path, variables={})
            await child.wait()
            return ProcessEnd(came_up=True, message="gone")

        async def on_failed(_: ProcessEnd) -> None:
            pytest.fail("it did not fail")

        child.supervise(run_once, on_failed)
        child.supervise(run_once, on_failed)  # is no second one
        while not child.log_tail():
            await asyncio.sleep(0.01)
        await child.stop()
        return child.pid, int(child.last_line())

    pids = asyncio.run(main())
    deadline = time.monotonic() + 10
    while any(map(is_alive, pids)):
        assert time.monotonic() < deadline, pids
        time.sleep(0.01)


DIES, CAME_UP = ProcessEnd(came_up=False, message="dies"), ProcessEnd(came_up=True, message="came up")
HOPELESS = ProcessEnd(came_up=False, message="hopeless", hopeless=True)


@pytest.mark.parametrize(
    ("ends", "failure"),
    [
        ([DIES, DIES, DIES], DIES),
        ([DIES, DIES, CAME_UP, DIES, DIES, DIES], DIES),
        ([DIES, HOPELESS], HOPELESS),
        ([CAME_UP, CAME_UP, CAME_UP, CAME_UP, None], None),
        ([None], None),
    ],
)
def test_another_is_started_a_few_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: list[ProcessEnd | None], failure: ProcessEnd | None
) -> None:
    """Three in a row that do not come up are enough, and one that is hopeless is; then it may be tried anew."""
    monkeypatch.setattr(child_process, "_PAUSE_SECONDS", 0.0)

    async def main(left: list[ProcessEnd | None]) -> list[ProcessEnd]:
        child, failures, is_over = child_in(tmp_path), [], asyncio.Event()

        async def run_once() -> ProcessEnd | None:
            end = left.pop(0)
            if not left:
                is_over.set()
            return end

        async def on_failed(end: ProcessEnd) -> None:
            failures.append(end)

        for _ in range(2):
            left[:] = ends
            is_over.clear()
            child.supervise(run_once, on_failed)
            await is_over.wait()
            await child.stop()
        assert left == []
        return failures

    failures = asyncio.run(main([]))
    assert failures == ([] if failure is None else [failure, failure])
