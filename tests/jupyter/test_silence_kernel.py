"""A real kernel whose dispatcher is stopped, or whose folder was removed: its cells say so, and go on."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.jupyter.kernels import Kernel, a_kernel

from covalab.client import Client

pytestmark = pytest.mark.sampled(3, of="file")


@pytest.fixture
def kernel(own: Client) -> Iterator[Kernel]:
    """Return a kernel with a tenth of the usual patience, beside a dispatcher that may be stopped."""
    with a_kernel() as kernel:
        kernel.succeed(
            "%load_ext covalab\n"
            "import os, shutil\n"
            "import covalab as ct\n"
            "from covalab.core import silence\n"
            "silence.CALLER_TICK_SECONDS = 0.05\n"
            "def add(x): return x + 1\n"
            "flow = ct.lattice(ct.electron(add))\n"
            "held = ct.dispatch(flow, disable_run=True)(1)"
        )
        yield kernel


def paused(pid: int, seconds: float) -> None:
    """Stop a process for a while."""
    os.kill(pid, signal.SIGSTOP)
    threading.Timer(seconds, os.kill, (pid, signal.SIGCONT)).start()


@pytest.mark.parametrize(
    "code",
    [
        "ct.get_result(held)",
        "ct.dispatch(flow, disable_run=True)(2)",
        "%dispatches",
        "await ct.async_get_result(held)",
        "ct.cancel(held)",
    ],
)
def test_a_cell_says_that_it_waits(own: Client, kernel: Kernel, code: str) -> None:
    """Two lines below the cell that waits; then the cell ends as ever."""
    pid = own.status().pid
    paused(pid, 1.5)
    cell = kernel.succeed(code)

    assert f"covalab: the dispatcher (pid {pid}) does not answer since " in cell.printed
    assert cell.printed.count("covalab: ") == 2
    assert f"covalab: the dispatcher (pid {pid}) answers again" in cell.printed


def test_the_stop_button_ends_the_wait(own: Client, kernel: Kernel) -> None:
    """While nothing is answered; the next cell is right."""
    pid = own.status().pid
    os.kill(pid, signal.SIGSTOP)
    try:
        cell, seconds = kernel.stop("ct.get_result(held)", after="does not answer since")
    finally:
        os.kill(pid, signal.SIGCONT)

    assert cell.reply["ename"] == "KeyboardInterrupt"
    assert seconds < 10, "the dispatcher would not answer before it goes on"
    assert "NEW_OBJECT" in kernel.succeed("str(ct.get_result(held).status)").text


def test_a_kernel_in_a_removed_folder(kernel: Kernel, tmp_path: Path) -> None:
    """Its dispatches are refused with the way out, which works."""
    (tmp_path / "notes").mkdir()
    kernel.succeed(f"os.chdir({str(tmp_path / 'notes')!r}); shutil.rmtree(os.getcwd())")
    for code in (
        "ct.dispatch(flow)(1)",
        "%%electron --run\n1 + 1",
    ):
        cell = kernel.run(code)
        assert cell.reply["status"] == "error"
        assert "WorkingFolderGone" in cell.reply["ename"] + cell.reply["evalue"] + cell.printed
        assert f"{tmp_path / 'notes'} was removed" in cell.reply["evalue"] + cell.printed
    kernel.succeed(f"%cd {tmp_path}")
    assert kernel.succeed("ct.dispatch(flow, disable_run=True)(1).startswith('')").text.endswith("True")
