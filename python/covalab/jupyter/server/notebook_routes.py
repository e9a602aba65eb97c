"""Routes of notebook runs: start one, see which cell is which node, get the executed notebook.

A notebook is read through the contents manager, as an editor reads it, and made a dispatch by the interpreter of its
kernel: which packages there are, and what a pickle means, is decided there.
"""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec
from jupyter_server.auth.decorator import authorized
from jupyter_server.utils import ensure_async
from tornado import web

from covalab.client import Client
from covalab.core.errors import CovalabError, GraphError, MissingLatticeRecordError
from covalab.core.model import Problem
from covalab.core.notebook_run import NotebookView
from covalab.jupyter.runs.messages import RunOptions, RunRequest, Started
from covalab.jupyter.server.base_route import Route, dispatch_of
from covalab.sdk.results.notebooks import executed_notebook

_LARGEST_DOCUMENT: Final = 512 * 1024**2
_SECONDS: Final = 120.0
_CODE: Final = "from covalab.jupyter.runs.request import main; main()"
"""Code for the interpreter. It is not a module that it is started with: then its folder would be searched."""
_THIS_PYTHON: Final = frozenset({"python", f"python{sys.version_info[0]}", "python{}.{}".format(*sys.version_info)})


class NotebookBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `POST notebooks`; see python/docs/http.md."""

    path: str
    document: dict[str, Any] | None = None
    first: str | None = None
    resume: str = ""
    parameters: dict[str, Any] = {}
    options: RunOptions = RunOptions()


class NotebooksRoute(Route):
    """Notebook runs."""

    @web.authenticated
    @authorized
    async def post(self, *_: str) -> None:
        """Run a notebook, or what is left of a run of it; answer with `Started`."""
        body: NotebookBody = self.json_body(NotebookBody, '{"path": "report.ipynb"}', _LARGEST_DOCUMENT)
        try:
            await self.relay.find()  # starts a dispatcher, if this server may
        except CovalabError as error:
            self.problem(503, type(error).__name__, str(error))
            return
        document = await self._document(body)
        path = self._file_of(body.path)
        request = RunRequest(str(path), document, body.parameters, body.options, body.first or "", body.resume)
        answer = await self._asked(document, msgspec.json.encode(request))
        if isinstance(answer, Problem):
            self.problem(400, answer.kind, answer.message, body.path)
            return
        self.set_status(201)
        await self.finish_if_open(msgspec.json.encode(answer))

    async def _document(self, body: NotebookBody) -> Any:
        """Return the notebook; the contents manager decides whether this user may have it."""
        model = await ensure_async(self.contents_manager.get(body.path, type="notebook", content=body.document is None))
        return model["content"] if body.document is None else body.document

    def _file_of(self, path: str) -> Path:
        """Return the file of a notebook; where the contents are in no folder, one in the server's own."""
        find = getattr(self.contents_manager, "_get_os_path", None)
        return Path(find(path) if find is not None else os.path.join(self.settings["server_root_dir"], path))  # noqa: PTH118

    async def _asked(self, document: Any, request: bytes) -> Started | Problem:
        """Ask the interpreter of the notebook's kernel."""
        python, variables = await self._kernel(document)
        folder = self.relay.folder
        if python == sys.executable and not variables:  # no other process would know more
            return _answer_in(await asyncio.to_thread(_answered, folder, request))
        try:
            process = await asyncio.create_subprocess_exec(
                *(python, "-c", _CODE),
                stdin=PIPE,
                stdout=PIPE,
                stderr=PIPE,
                cwd=folder,
                env={**os.environ, **variables, "COVALAB_DATA_DIR": str(folder)},
            )
        except OSError as error:
            return Problem("NotebookRefused", f"the kernel's interpreter {python} cannot be started: {error}")
        try:
            output, said = await asyncio.wait_for(process.communicate(request), _SECONDS)
        except asyncio.TimeoutError:
            return Problem("NotebookRefused", f"{python} did not read the notebook within {_SECONDS:.0f} s; try again")
        finally:
            with suppress(ProcessLookupError):
                process.kill()  # one that did not answer in time; others have ended
        try:
            return _answer_in(output)
        except msgspec.MsgspecError:
            last = said.decode(errors="replace").strip().rpartition("\n")[2]
            message = f"{python} could not run the notebook: {last}; is this version of covalab installed there?"
            return Problem("NotebookRefused", message)

    async def _kernel(self, document: Any) -> tuple[str, dict[str, str]]:
        """Return the interpreter of the notebook's kernel and its variables; of the default one, if it names none."""
        metadata = document.get("metadata") if isinstance(document, dict) else None
        spec = metadata.get("kernelspec") if isinstance(metadata, dict) else None
        name = spec.get("name") if isinstance(spec, dict) else None
        default = self.settings["kernel_manager"].default_kernel_name
        manager: Any = self.kernel_spec_manager
        for one in (name, default):
            with suppress(Exception):  # a kernel that is not here; the next is tried, at last this interpreter
                found: Any = await ensure_async(manager.get_kernel_spec(one))
                if found.argv and found.language.lower() == "python":
                    python = sys.executable if found.argv[0] in _THIS_PYTHON else found.argv[0]
                    return python, dict(found.env)
        return sys.executable, {}


def _answered(folder: Path, request: bytes) -> bytes:
    from covalab.jupyter.runs.request import answered  # noqa: PLC0415 - a server starts without the analysis of cells

    client = Client(folder, start=False)
    try:
        return answered(request, client)
    finally:
        client.close()


def _answer_in(data: bytes) -> Started | Problem:
    found = msgspec.json.decode(data)
    return msgspec.convert(found, Started) if "dispatch_id" in found else msgspec.convert(found, Problem)


class NotebookRoute(Route):
    """Notebook of a dispatch."""

    _track_activity = False

    @web.authenticated
    @authorized
    async def get(self, *path: str) -> None:
        """Answer with a `NotebookView`."""
        try:
            answer = await self.relay.ask("GET", f"/dispatches/{dispatch_of(path)}/notebook")
        except CovalabError as error:
            self.problem(503, type(error).__name__, str(error))
            return
        self.set_status(answer.status)
        if answer.status != 200:
            await self.finish_if_open(answer.body)
            return
        view = msgspec.json.decode(answer.body, type=NotebookView)
        await self.finish_if_open(
            msgspec.json.encode(msgspec.structs.replace(view, path=self._contents_path(view.path)))
        )

    def _contents_path(self, path: str) -> str:
        """Return the path by which the contents API has a file, else the file's own."""
        with suppress(ValueError):
            root = Path(self.settings["server_root_dir"]).expanduser().resolve()
            return Path(path).resolve().relative_to(root).as_posix()
        return path


class ExecutedRoute(Route):
    """Executed notebook of a dispatch."""

    @web.authenticated
    @authorized
    async def get(self, *path: str) -> None:
        """Answer with the executed notebook, as far as it has run."""
        dispatch = dispatch_of(path)
        try:
            await self.relay.find()
            body = await asyncio.to_thread(_executed, self.relay.folder, dispatch)
        except MissingLatticeRecordError as error:
            self.problem(404, "MissingLatticeRecordError", str(error), dispatch)
        except GraphError as error:
            self.problem(404, "GraphError", str(error), dispatch)
        except CovalabError as error:
            self.problem(503, type(error).__name__, str(error), dispatch)
        else:
            await self.finish_if_open(body)


def _executed(folder: Path, dispatch: str) -> bytes:
    client = Client(folder, start=False)
    try:
        return msgspec.json.encode(executed_notebook(dispatch, client))
    finally:
        client.close()
