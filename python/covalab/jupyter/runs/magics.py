"""Magics about notebook runs: `%run_notebook` and `%bring`."""

from __future__ import annotations

import sys
from typing import Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_magic, magics_class
from IPython.core.magic_arguments import argument, parse_argstring

from covalab.client import connect
from covalab.core.errors import GraphError, MissingLatticeRecordError
from covalab.jupyter.cells.header import without_comment
from covalab.jupyter.notebook.magic_helpers import id_in, magic
from covalab.jupyter.runs.bring import LOAD, Bringing, BroughtNames, LoadingTransformer
from covalab.jupyter.runs.document import NotebookRefused
from covalab.jupyter.runs.parameters import value_of_text
from covalab.jupyter.runs.run import resume_notebook, run_notebook
from covalab.sdk.results.fetch import fetch_result
from covalab.sdk.results.handle import DispatchHandle


@magics_class
class RunMagics(Magics):
    """Magics about notebooks that run in the background."""

    def __init__(self, shell: Any) -> None:
        super().__init__(shell)
        self._shell = shell
        self._brought = BroughtNames(shell.user_ns)
        shell.user_ns[LOAD] = self._brought.load
        shell.ast_transformers.append(LoadingTransformer(self._brought.needed))

    @magic(
        line_magic,
        argument("path", nargs="?", help="the notebook; with --resume, where it is now"),
        argument(
            "-p",
            "--parameter",
            nargs=2,
            action="append",
            default=[],
            metavar=("NAME", "VALUE"),
            help="value of a parameter; may be repeated",
        ),
        argument("--cell-timeout", type=float, help="limit for one cell, in seconds"),
        argument("--allow-errors", action="store_true", help="run the cells after one that failed, too"),
        argument("--stop-on-error", action="store_true", help="run no cell after one that failed"),
        argument("--fresh", action="store_true", help="take nothing from earlier runs: run all cells"),
        argument("--no-parallel", action="store_true", help="run each cell in its turn, none beside another"),
        argument(
            "--parallel",
            action="store_true",
            help="run cells side by side that are shown to be independent: it is the default",
        ),
        argument("--no-check", action="store_true", help="do not look for missing packages before the run"),
        argument("--resume", metavar="RUN", help="run what is left of a run that failed or was cancelled"),
    )
    def run_notebook(self, line: str) -> DispatchHandle:
        """Run another notebook in the background: ``%run_notebook report.ipynb -p region north``.

        Its live graph appears here, and the kernel is free at once. ``%bring`` brings its names here. A value is True,
        False, None or a number if it looks like one, else text. After a failure, mend the cell, save the notebook, then
        ``%run_notebook --resume RUN``: what was done is kept.
        """
        options = parse_argstring(self.run_notebook, without_comment(line))
        if options.path is None and options.resume is None:
            message = "name a notebook, or a run to go on with: `%run_notebook --resume RUN`"
            raise UsageError(message)
        path = None if options.path is None else options.path.strip("'\"")
        parameters = {name: value_of_text(text.strip("'\"")) for name, text in options.parameter}
        if options.resume is not None and parameters:
            message = "--resume goes on with the parameters of that run; start another run for other values"
            raise UsageError(message)
        try:
            if options.resume is not None:
                run = resume_notebook(id_in(self._shell, options.resume), path=path)
            else:
                run = run_notebook(
                    str(path),
                    parameters,
                    cell_timeout=options.cell_timeout,
                    allow_errors=options.allow_errors,
                    stop_on_error=options.stop_on_error,
                    reuse=not options.fresh,
                    parallel=not options.no_parallel,
                    check=not options.no_check,
                )
        except (NotebookRefused, GraphError, MissingLatticeRecordError) as error:
            raise UsageError(str(error)) from None
        magics = self._shell.magics_manager.registry.get("CovalabMagics")
        if magics is not None:
            magics.last = run  # what `%result` means
        return run

    @magic(
        line_magic,
        argument("run", help="dispatch id, or a variable that holds one"),
        argument("names", nargs="*", help="the names; all that the run has, if none are given"),
        argument("--replace", action="store_true", help="replace names that this notebook has"),
    )
    def bring(self, line: str) -> Bringing:
        """Bring names of a run to this notebook: ``%bring RUN``, ``%bring RUN model accuracy``.

        Each is loaded when a cell first reads it, so large ones cost nothing before. Names that this notebook has stay
        as they are, and are listed, unless ``--replace`` is given.
        """
        options = parse_argstring(self.bring, without_comment(line))
        dispatch = id_in(self._shell, options.run)
        result = fetch_result(dispatch)
        record = result.session_record
        if record is None:
            why = "it has no cells that share names" if result.is_terminal else "no cell of it has ended yet"
            message = f"{dispatch} has no names to bring: {why}; `%result {dispatch}` shows it"
            raise UsageError(message)
        names = [name for text in options.names for name in text.replace(",", " ").split()]
        found = self._brought.bring(dispatch, record, connect().blobs, names, replace=options.replace)
        if found.remarks:  # the magic may not be the last line of its cell
            sys.stderr.write(f"{found.remarks}\n")
        return found
