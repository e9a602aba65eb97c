"""The stop button of a notebook ends every call that waits, and leaves the kernel and the dispatch as they were."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.jupyter.kernels import Kernel, a_kernel

from covalab.client import Client

WAITS = [
    "ct.get_result(run, wait=True)",
    "ct.get_result(run, wait=True, timeout=600)",
    "run.result()",
    "%result run --wait",
    "ct.get_task_result(f'{run}:0', wait=True)",
    "ct.get_task_result(f'{run}:0', wait=True, timeout=600)",
    "result.get_final_result()",
    "result.get_final_result(timeout=600)",
    "list(execution.get_runtime_stream(timeout=None))",
    "list(execution.get_runtime_stream(timeout=600))",
    "await ct.async_get_result(run, wait=True)",
    "await ct.async_dispatch_sync(waiting)()",
    "await ct.async_get_task_result(f'{run}:0', wait=True)",
    "await result.async_get_final_result()",
    "[item async for item in execution.get_async_runtime_stream(timeout=None)]",
    "ct.dispatch_sync(waiting)()",
    "ct.redispatch(run, reuse_previous_results=True)()",
    "await execution.async_close()",
    "execution.close()",
]
"""Each call that may wait long; closing last, because it seals."""


@pytest.fixture(scope="module")
def kernel(data_dir: Path) -> Iterator[Kernel]:
    """Return a kernel in which a dispatch runs for long."""
    with a_kernel() as kernel:
        kernel.succeed(
            "%load_ext covalab\n"
            "import time, threading\n"
            "import covalab as ct\n"
            "@ct.electron\n"
            "def long():\n"
            "    time.sleep(600)\n"
            "@ct.lattice\n"
            "def waiting():\n"
            "    return long()\n"
            "run = ct.dispatch(waiting)()\n"
            "while ct.get_task(run).status != 'RUNNING':\n"
            "    time.sleep(0.02)\n"
            "result, execution = ct.get_result(run), ct.get_execution(run)"
        )
        yield kernel
        kernel.succeed("for one in ct.list_dispatches(name='waiting', count=None):\n    ct.cancel(one.dispatch_id)")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("call", WAITS)
def test_the_stop_button_ends_a_wait(call: str, kernel: Kernel, live: Client) -> None:
    """With `KeyboardInterrupt`, at once; the next question is answered, and the dispatch goes on."""
    cell, seconds = kernel.stop(f"print('waiting', flush=True)\n{call}", after="waiting")

    assert cell.reply["status"] == "error"
    assert cell.reply["ename"] in {"KeyboardInterrupt", "CancelledError"}
    assert seconds < 10  # a moment, on a machine that does ten other things; the calls wait for minutes
    asked = kernel.succeed("print(ct.get_result(run).status, ct.get_task(f'{run}:0').status)")
    assert asked.text == "RUNNING RUNNING\n"
