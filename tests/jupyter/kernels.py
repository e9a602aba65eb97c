"""A real kernel, asked as JupyterLab asks it. For tests."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager, start_new_kernel


class Cell:
    """A cell of a notebook: its id, what it shows, and how the kernel answered."""

    def __init__(self) -> None:
        self.id = secrets.token_hex(4)
        self.request = ""
        self.printed = ""
        self.outputs: list[dict[str, Any]] = []
        self.reply: dict[str, Any] = {}

    @property
    def text(self) -> str:
        """The printed text and the outputs as text."""
        return self.printed + "".join(bundle["text/plain"] for bundle in self.outputs)


class Kernel:
    """A running kernel, asked with the id of the cell."""

    def __init__(self, manager: KernelManager, client: BlockingKernelClient) -> None:
        self._manager = manager
        self._client = client
        self._displays: dict[str, tuple[Cell, int]] = {}

    def run(self, code: str, *, again: Cell | None = None) -> Cell:
        """Run a new cell, or one of before with other code, until the kernel is idle."""
        cell = self.begin(code, again=again)
        while not cell.reply:
            self.receive(cell)
        return cell

    def succeed(self, code: str) -> Cell:
        """Run a new cell, which must not fail."""
        cell = self.run(code)
        assert cell.reply["status"] == "ok", "\n".join(cell.reply["traceback"])
        return cell

    def stop(self, code: str, *, after: str) -> tuple[Cell, float]:
        """Run a cell, press the stop button when it has printed `after`; returns how many seconds it took to end."""
        cell = self.begin(code)
        while after not in cell.printed and not cell.reply:
            self.receive(cell)
        time.sleep(0.3)  # what it printed it before is what is to be stopped
        began = time.monotonic()
        self._manager.interrupt_kernel()
        while not cell.reply:
            self.receive(cell)
        return cell, time.monotonic() - began

    def begin(self, code: str, *, again: Cell | None = None) -> Cell:
        """Let a cell begin."""
        cell = again or Cell()
        cell.printed, cell.outputs, cell.reply = "", [], {}
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False, "stop_on_error": True}
        request = self._client.session.msg("execute_request", content, metadata={"cellId": cell.id})
        cell.request = request["header"]["msg_id"]
        self._client.shell_channel.send(request)
        return cell

    def receive(self, cell: Cell) -> None:
        """Wait for the next message, and take it as what it is; with the last one of a cell comes its reply."""
        message = self._client.get_iopub_msg(timeout=240)
        kind, content = message["msg_type"], message["content"]
        if kind == "update_display_data":  # of any cell, also of one that ended long ago
            owner, position = self._displays[content["transient"]["display_id"]]
            owner.outputs[position] = content["data"]
        elif message["parent_header"].get("msg_id") != cell.request:
            return
        elif kind == "stream":
            cell.printed += content["text"]
        elif kind in {"display_data", "execute_result"}:
            identity = content.get("transient", {}).get("display_id")
            if identity is not None:
                self._displays[identity] = (cell, len(cell.outputs))
            cell.outputs.append(content["data"])
        elif kind == "status" and content["execution_state"] == "idle":
            cell.reply = self._reply(cell.request)

    def _reply(self, request: str) -> dict[str, Any]:
        while True:
            reply: dict[str, Any] = self._client.get_shell_msg(timeout=240)
            if reply["parent_header"].get("msg_id") == request:
                content: dict[str, Any] = reply["content"]
                return content


@contextmanager
def a_kernel() -> Iterator[Kernel]:
    """Start a kernel, which ends with the block."""
    manager, client = start_new_kernel(extra_arguments=["--HistoryManager.enabled=False"])
    try:
        yield Kernel(manager, client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.cleanup_resources()
