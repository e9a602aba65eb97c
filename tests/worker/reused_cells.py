"""Sessions of cells that may be reused, each in a process of its own.

It is forked from a server that has begun no thread: the process of the tests may have, and a fork of it waits for ever
for what such a thread held (polars).
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sys
import traceback
import types
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final, NamedTuple

from covalab.blobs import BlobStore
from covalab.core import outputs
from covalab.core.cell_source import filename_for
from covalab.core.model import Outcome
from covalab.core.process_variables import INLINE_BACKEND
from covalab.worker import after, context, reporting, search_path
from covalab.worker.capture import Capture
from covalab.worker.node_state import NodeState
from covalab.worker.outputs import ipython
from covalab.worker.outputs.figures import flush_figures
from covalab.worker.outputs.recorder import recorder
from covalab.worker.outputs.stored import stored_outputs
from covalab.worker.reuse import local_code, packages, surroundings
from covalab.worker.session import live
from covalab.worker.session.cell_text import CellText
from covalab.worker.session.record import unfinished

_SERVER: Final = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload([__name__, "numpy", "pandas", "matplotlib_inline.backend_inline"])


class CellEnd(NamedTuple):
    """End of a cell: whether an earlier run stood for it, why, why not again, and what it showed."""

    is_reused: bool
    reasons: tuple[str, ...]
    doubts: tuple[str, ...]
    shown: list[dict[str, Any]]


class Notebook(NamedTuple):
    """Ends of cells, and the values of all names; of one that cannot be pickled the name of its type."""

    cells: list[CellEnd]
    values: dict[str, Any]

    @property
    def ran(self) -> list[int]:
        """The numbers of the cells that ran."""
        return [number for number, cell in enumerate(self.cells) if not cell.is_reused]

    @property
    def shown(self) -> list[list[dict[str, Any]]]:
        """Outputs of each cell."""
        return [cell.shown for cell in self.cells]


def run(
    cells: Sequence[str],
    folder: Path,
    *,
    reuse: bool = True,
    cwd: Path | None = None,
    variables: dict[str, str] | None = None,
    path: Sequence[str] = (),
    lost_after: int = -1,
    may_raise: bool = False,
    environment: Path | None = None,
    history: bool = False,
) -> Notebook:
    """Run cells in a new process with a data folder, and return what became of them.

    `lost_after` is the number of a cell after which the session is lost and restored. A cell that fails is the last
    one, unless `may_raise`; the values are then those of what it left. `environment` is a further folder of installed
    packages. `history` is whether cells read what others have shown.
    """
    read, write = _SERVER.Pipe(duplex=False)
    options = (reuse, cwd or folder, variables or {}, tuple(path), lost_after, may_raise, environment, history)
    process = _SERVER.Process(target=_send, args=(write, list(cells), folder, *options))
    process.start()
    write.close()
    found = pickle.loads(read.recv_bytes())
    process.join()
    assert not isinstance(found, str), found
    return Notebook([CellEnd(*cell) for cell in found[0]], found[1])


def _send(
    write: Connection,
    cells: Sequence[str],
    folder: Path,
    reuse: bool,
    cwd: Path,
    variables: dict[str, str],
    path: Sequence[str],
    lost_after: int,
    may_raise: bool,
    environment: Path | None,
    history: bool,
) -> None:
    try:
        if environment is not None:
            folders = frozenset({*search_path.environment_path(), str(environment)})
            for module in (packages, local_code, surroundings):
                vars(module)["environment_path"] = lambda: folders
        os.environ.update({"MPLBACKEND": INLINE_BACKEND, **variables})
        cwd.mkdir(exist_ok=True)
        os.chdir(cwd)
        sys.path[:0] = path
        # A task process has no modules of tests, whose data would count as those of local modules.
        for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
            del sys.modules[name]
        result: Any = _run(cells, folder, reuse, f"d{os.getpid()}", lost_after, may_raise, history)
    except BaseException as error:  # noqa: BLE001 - the test gets it
        result = "".join(traceback.format_exception(error))
    write.send_bytes(pickle.dumps(result))
    os._exit(0)


def _run(
    cells: Sequence[str], folder: Path, reuse: bool, dispatch: str, lost_after: int, may_raise: bool, history: bool
) -> Any:
    for name in ("blobs", "spool"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    blobs = BlobStore(folder / "blobs")
    reporting.process.reporter = types.SimpleNamespace(blobs=blobs)  # type: ignore[assignment]
    ipython.install()
    ipython.act_as_notebook()
    NodeState().libraries.before_closing = flush_figures
    capture = Capture(str(folder / "spool"))
    capture.enter()
    record = None
    ends = []
    try:
        for number, text in enumerate(cells):
            context.process.task = context.Context(dispatch, number)
            filename = filename_for("electron", f"cell_{number}", text)
            cell = CellText(text, 1, filename, reuse=reuse, may_raise=may_raise, history=history)
            try:
                record = live.live_session(record).run(cell, None, {})
            except Exception:  # noqa: BLE001 - of any kind: the cell's
                failed = after.completed(Outcome(number, "failed", 0, 1))
                assert (failed.reuse is not None and not failed.reuse.dispatch) is reuse
                record = unfinished.take()
                break
            shown = None if recorder.is_empty else stored_outputs(*capture.texts(), None, blobs)[0]
            stdout, stderr = capture.take()
            outcome = after.completed(Outcome(number, "completed", 0, 1, None, None, stdout, stderr, "", None, shown))
            about = outcome.reuse
            if number == lost_after:
                live.process.session = None
            ends.append(
                (
                    about is not None and bool(about.dispatch),
                    about.reasons if about is not None else (),
                    about.doubts if about is not None else (),
                    outputs.recorded(outcome, blobs.load),
                )
            )
    finally:
        capture.leave()
    assert record is not None
    return ends, {name: _portable(record[name]) for name in record}


def _portable(value: Any) -> Any:
    try:
        pickle.loads(pickle.dumps(value))
    except Exception:  # noqa: BLE001 - whatever it is that cannot be pickled
        return type(value).__name__
    return value
