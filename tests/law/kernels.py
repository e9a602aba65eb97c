"""A real kernel that runs a notebook cell by cell through nbclient, with or without ids of cells."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

Output = dict[str, Any]
_ANSI = re.compile(r"\x1b\[[0-9;]*m")


class Notebook:
    """A notebook that is open beside a running kernel."""

    def __init__(self, client: NotebookClient) -> None:
        self._client = client

    def run(self, code: str, *, is_hidden: bool = False) -> int:
        """Run a new cell to its end; return its number, by which its outputs are found, also those that come later."""
        cells = self._client.nb.cells
        cells.append(nbformat.v4.new_code_cell(code))
        number = len(cells) - 1
        self._client.execute_cell(cells[number], number, store_history=not is_hidden)
        return number

    def hidden(self, code: str) -> None:
        """Run code that is no cell of the notebook and must not fail."""
        number = self.run(code, is_hidden=True)
        error = self.error(number)
        assert error is None, "\n".join([code, *error["traceback"]])

    def outputs(self, number: int) -> list[Output]:
        """Return the outputs of a cell as they are now."""
        return copy.deepcopy([dict(one) for one in self._client.nb.cells[number].get("outputs", [])])

    def error(self, number: int) -> Output | None:
        """Return the error of a cell."""
        return next((one for one in self.outputs(number) if one["output_type"] == "error"), None)

    def text(self, number: int) -> str:
        """Return what a cell shows, as text."""
        shown = []
        for one in self.outputs(number):
            if one["output_type"] == "stream":
                shown.append(one["text"])
            elif one["output_type"] == "error":
                shown.append("\n".join(one["traceback"]))
            else:
                shown.append(str(one["data"].get("text/plain", "")) + "\n")
        return _ANSI.sub("", "".join(shown))

    def id(self, number: int) -> str:
        """Return the id of a cell."""
        return str(self._client.nb.cells[number]["id"])


@contextmanager
def open_notebook(folder: Path, *, with_ids: bool = True, timeout: int = 120) -> Iterator[Notebook]:
    """Start a kernel in a folder; it ends with the block."""
    folder.mkdir(parents=True, exist_ok=True)
    client = _Client(
        nbformat.v4.new_notebook(),
        timeout=timeout,
        allow_errors=True,
        shutdown_kernel="immediate",
        resources={"metadata": {"path": str(folder)}},
        extra_arguments=["--HistoryManager.enabled=False"],
    )
    with client.setup_kernel():
        if with_ids:
            _send_ids(client)
        yield Notebook(client)


class _Client(NotebookClient):
    async def _check_raise_for_error(self, cell: Any, cell_index: int, exec_reply: Any) -> None:
        """An error is an output, also one for which the kernel's reply says error and the outputs do not."""
        content = (exec_reply or {}).get("content", {})
        if content.get("status") == "error" and not any(one["output_type"] == "error" for one in cell.outputs):
            cell.outputs.append(
                nbformat.v4.new_output(
                    "error", ename=content["ename"], evalue=content["evalue"], traceback=content["traceback"]
                )
            )


def _send_ids(client: NotebookClient) -> None:
    """Let requests name their cell, as JupyterLab's do and nbclient's do not."""
    kernel: Any = client.kc

    def execute(code: str, store_history: bool = True, stop_on_error: bool = True, **_: Any) -> str:
        content = {
            "code": code,
            "silent": False,
            "store_history": store_history,
            "user_expressions": {},
            "allow_stdin": False,
            "stop_on_error": stop_on_error,
        }
        cell = next(one for one in reversed(client.nb.cells) if one["source"] == code)
        message = kernel.session.msg("execute_request", content, metadata={"cellId": cell["id"]})
        kernel.shell_channel.send(message)
        return str(message["header"]["msg_id"])

    kernel.execute = execute
