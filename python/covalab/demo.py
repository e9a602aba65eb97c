"""Demonstration for `covalab demo`: results outlive the kernel that dispatched them.

Starts a real Jupyter server with our extension, on loopback with a token. A kernel runs the first notebook and is shut
down; another kernel fetches the results. Only the server's settings are temporary: dispatches are in the user's data
folder.
"""

from __future__ import annotations

import json
import os
import queue
import re
import secrets
import shlex
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from covalab._version import __version__

if TYPE_CHECKING:
    from nbformat import NotebookNode
    from rich.console import Console

NOTEBOOK: Final = "01_first_dispatch.ipynb"

_SERVER_LIMIT: Final = 90.0  # seconds until the server answers: cold disk, byte code not compiled yet
_CELL_LIMIT: Final = 240.0  # seconds for one cell
_ANSI: Final = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_PRINTED: Final = re.compile(r"^(sweep|experiment|accuracy):\s*(\S+)\s*$", re.MULTILINE)


class DemoFailed(RuntimeError):
    """Failure of the demonstration; the message says what failed and what to look at."""


def notebook_file(name: str = NOTEBOOK) -> Path:
    """Return the path of a notebook of covalab: in the installed package, or in the repository."""
    package = Path(__file__).parent
    for folder in (package / "notebooks", package.parents[1] / "notebooks"):
        if (folder / name).is_file():
            return folder / name
    message = f"the notebook {name} is not part of this installation of covalab ({package}); install covalab again"
    raise DemoFailed(message)


def run(folder: Path, console: Console, source: Path | None = None) -> None:
    """Run the demo.

    Parameters
    ----------
    folder
        Folder to which the notebook is copied; it stays there, with its outputs.
    console
        Console for the progress.
    source
        The notebook to run, if not the first one. It must print a line each for ``sweep:`` and ``experiment:`` with a
        dispatch id, and one for ``accuracy:``.

    Raises
    ------
    DemoFailed
        If a step fails.
    """
    import nbformat

    began = time.monotonic()
    path = _free_name(folder / NOTEBOOK)
    path.parent.mkdir(parents=True, exist_ok=True)
    notebook = nbformat.read(source or notebook_file(), as_version=4)
    nbformat.write(notebook, path)
    console.print(f"[bold]notebook[/]   {path}")
    with _server(folder) as server:
        status = server.ask("GET", "covalab/api/status")
        console.print(f"[bold]server[/]     {server.url} (process {server.pid}), extension covalab {__version__}")
        console.print(f"[bold]dispatcher[/] process {status['pid']}, data folder {status['data_dir']}")

        with server.kernel(path) as first:
            console.print(f"\n[bold]kernel 1[/]   {first.id}")
            printed = _run_cells(notebook, first, console)
        nbformat.write(notebook, path)
        console.print("[bold]kernel 1[/]   shut down")
        ids = dict(_PRINTED.findall(printed))
        if set(ids) != {"sweep", "experiment", "accuracy"}:
            message = f"{path} ran, but did not print its dispatch ids and its accuracy; it printed:\n{printed[-2000:]}"
            raise DemoFailed(message)

        with server.kernel(path) as second:
            console.print(f"\n[bold]kernel 2[/]   {second.id}")
            for name in ("sweep", "experiment"):
                code = (
                    "import covalab as ct\n"
                    f"result = ct.get_result({ids[name]!r}, wait=True)\n"
                    "print(result.status)\nprint(' '.join(repr(result.result).split())[:150])"
                )
                state, _, value = second.run(code).text.partition("\n")
                if state.strip() != "COMPLETED":
                    message = f"the second kernel sees dispatch {ids[name]} ({name}) as {state.strip()!r}"
                    raise DemoFailed(message)
                console.print(f'[bold]result[/]     ct.get_result("{ids[name]}").result', soft_wrap=True)
                console.print(f"           {value.strip()}", markup=False, soft_wrap=True)
    way = "uv run covalab" if os.environ.get("UV") else "covalab"
    console.print(f"\n[bold]sweep[/]      {ids['sweep']}")
    console.print(f"[bold]experiment[/] {ids['experiment']}")
    console.print(f"[bold]accuracy[/]   {ids['accuracy']}")
    console.print(f"[bold]took[/]       {time.monotonic() - began:.0f} s")
    console.print(f"\nopen it with:  {way} lab {shlex.quote(_short(path))}", soft_wrap=True)


def _run_cells(notebook: NotebookNode, kernel: _Kernel, console: Console) -> str:
    """Run every code cell, store its outputs in the notebook, and return all printed text."""
    printed = ""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    for number, cell in enumerate(cells, 1):
        began = time.monotonic()
        ran = kernel.run(cell.source, cell.get("id", ""))
        cell.outputs, cell.execution_count = ran.outputs, number
        first_line = cell.source.strip().splitlines()[0][:90]
        console.print(f"  {number:2}  {time.monotonic() - began:5.1f} s  {first_line}", markup=False, soft_wrap=True)
        printed += ran.text + "\n"
    return printed


# -- the server ------------------------------------------------------------------------------------------------------


class _Server:
    """Client of a running Jupyter server, with the requests of a page."""

    def __init__(self, url: str, token: str, runtime: Path, root: Path, pid: int) -> None:
        self.url, self.runtime, self.pid = url, runtime, pid
        self._token, self._root = token, root

    def ask(self, method: str, path: str, body: object = None, *, limit: float = 90.0) -> Any:
        """Send a request and return the JSON of the answer."""
        request = urllib.request.Request(  # noqa: S310 - our own server, on loopback
            self.url + path,
            method=method,
            headers={"Authorization": f"token {self._token}", "Content-Type": "application/json"},
            data=None if body is None else json.dumps(body).encode(),
        )
        try:
            return json.loads(_fetch(request, limit) or b"null")
        except urllib.error.HTTPError as error:
            answer = error.read()[:2000].decode(errors="replace")
            if error.code == 404 and path.startswith("covalab/"):
                answer = "its extension is not enabled; `jupyter server extension list` shows those that are"
            message = f"the Jupyter server answered {error.code} to {method} /{path}: {answer}"
            raise DemoFailed(message) from error
        except OSError as error:
            message = f"the Jupyter server does not answer {method} /{path}: {error}"
            raise DemoFailed(message) from error

    @contextmanager
    def kernel(self, notebook: Path) -> Iterator[_Kernel]:
        """Start a kernel for a notebook, as JupyterLab does, and shut it down at the end."""
        session = self.ask(
            "POST",
            "api/sessions",
            {
                "path": str(notebook.relative_to(self._root)),
                "name": notebook.name,
                "type": "notebook",
                "kernel": {"name": "python3"},
            },
        )
        kernel = session["kernel"]["id"]
        try:
            with _Kernel.attach(kernel, self.runtime / f"kernel-{kernel}.json") as attached:
                yield attached
        finally:
            self.ask("DELETE", f"api/sessions/{quote(session['id'])}")
        if any(other["id"] == kernel for other in self.ask("GET", "api/kernels")):
            message = f"kernel {kernel} was shut down and is still there"
            raise DemoFailed(message)


def _fetch(request: urllib.request.Request | str, limit: float) -> bytes:
    with urllib.request.urlopen(request, timeout=limit) as response:  # noqa: S310 - our own server, on loopback
        body: bytes = response.read()
        return body


@contextmanager
def _server(root: Path) -> Iterator[_Server]:
    """Start a Jupyter server for the folder `root`, and terminate it at the end."""
    with tempfile.TemporaryDirectory(prefix="covalab-demo-") as temporary:
        runtime, log = Path(temporary) / "runtime", Path(temporary) / "server.log"
        token = secrets.token_hex(24)
        environment = {
            **os.environ,
            "JUPYTER_CONFIG_DIR": str(Path(temporary) / "config"),
            "JUPYTER_RUNTIME_DIR": str(runtime),
            "JUPYTER_TOKEN": token,  # not an argument: those can be read by everybody on this machine
        }
        command = [sys.executable, "-m", "jupyter_server", "--ip=127.0.0.1", "--port=0", "--no-browser"]
        command += [f"--ServerApp.root_dir={root}", *(["--allow-root"] if os.getuid() == 0 else [])]
        with log.open("wb") as out:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment)
        try:
            yield _Server(_wait_for(process, runtime, log), token, runtime, root, process.pid)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for(process: subprocess.Popen[bytes], runtime: Path, log: Path) -> str:
    """Wait until the server answers, and return its URL."""
    deadline = time.monotonic() + _SERVER_LIMIT
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError, ValueError):
            url: str = json.loads((runtime / f"jpserver-{process.pid}.json").read_bytes())["url"]
            _fetch(f"{url}api", 5.0)
            return url
        time.sleep(0.05)
    tail = log.read_text(errors="replace")[-3000:]
    message = f"the Jupyter server did not come up within {_SERVER_LIMIT:.0f} s; it said:\n{tail}"
    raise DemoFailed(message)


# -- a kernel --------------------------------------------------------------------------------------------------------


class _CellRun:
    """Outputs of a cell in the format of a notebook, and the printed text among them."""

    def __init__(self) -> None:
        self.outputs: list[Any] = []
        self._displays: dict[str, list[int]] = {}  # display id: positions in `outputs`

    @property
    def text(self) -> str:
        """The printed text."""
        return "".join(output.text for output in self.outputs if output.output_type == "stream")

    def add(self, message: dict[str, Any]) -> None:
        """Append the output of a message."""
        from nbformat.v4 import output_from_msg

        display = message["content"].get("transient", {}).get("display_id")
        if display is not None:
            self._displays.setdefault(display, []).append(len(self.outputs))
        self.outputs.append(output_from_msg(message))

    def update(self, content: dict[str, Any]) -> None:
        """Replace the outputs with a display id by newer content."""
        display = content.get("transient", {}).get("display_id")
        for position in self._displays.get(display, []):
            self.outputs[position].data, self.outputs[position].metadata = content["data"], content["metadata"]


class _Kernel:
    """Client of a kernel that the server started, through the channels of its connection file."""

    def __init__(self, id_: str, client: Any) -> None:
        self.id = id_
        self._client = client

    @classmethod
    @contextmanager
    def attach(cls, id_: str, connection: Path) -> Iterator[_Kernel]:
        """Attach to a kernel through its connection file and wait until it is ready."""
        from jupyter_client.blocking.client import BlockingKernelClient

        client = BlockingKernelClient(connection_file=str(connection))
        client.load_connection_file()
        client.start_channels(hb=False)
        try:
            deadline = time.monotonic() + _SERVER_LIMIT
            while True:
                client.kernel_info()
                # A message on this channel: the kernel runs, and the subscription works; earlier outputs would be lost.
                with suppress(queue.Empty):
                    client.get_iopub_msg(timeout=1)
                    break
                if time.monotonic() > deadline:
                    message = (
                        f"kernel {id_} did not answer within {_SERVER_LIMIT:.0f} s; {sys.executable} is its Python"
                    )
                    raise DemoFailed(message)
            yield cls(id_, client)
        finally:
            client.stop_channels()

    def run(self, code: str, cell: str = "") -> _CellRun:
        """Run code as the cell `cell` and return its outputs."""
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False, "stop_on_error": True}
        message = self._client.session.msg(
            "execute_request", {**content, "user_expressions": {}}, metadata={"cellId": cell}
        )
        self._client.shell_channel.send(message)
        request = message["header"]["msg_id"]
        deadline = time.monotonic() + _CELL_LIMIT
        run = _CellRun()
        while True:
            try:
                reply = self._client.get_iopub_msg(timeout=max(0.1, deadline - time.monotonic()))
            except queue.Empty:
                text = f"a cell did not end within {_CELL_LIMIT:.0f} s:\n{code}"
                raise DemoFailed(text) from None
            kind, content = reply["msg_type"], reply["content"]
            if kind == "update_display_data":  # also from threads of earlier cells, so before the check of the request
                run.update(content)
            elif reply["parent_header"].get("msg_id") != request:
                continue
            elif kind == "status" and content["execution_state"] == "idle":
                return run
            elif kind == "error":
                trace = _ANSI.sub("", "\n".join(content["traceback"]))
                text = f"a cell failed: {content['ename']}: {content['evalue']}\n{trace}"
                raise DemoFailed(text)
            elif kind in ("stream", "display_data", "execute_result"):
                run.add(reply)


def _free_name(path: Path) -> Path:
    """Return `path`, or the first free numbered path beside it: earlier copies are not overwritten."""
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.stem}-{number}{path.suffix}")
    return free


def _short(path: Path) -> str:
    with suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)
