"""Magics that `%load_ext covalab` loads: electron and lattice cells, and one-line commands for dispatches.

They only parse lines, evaluate arguments and display answers; `session` decides what a cell means. Errors are raised,
so that "Run all" stops at the cell that is wrong.
"""

from __future__ import annotations

import argparse
import ast
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, get_args

from IPython.core.error import UsageError
from IPython.core.magic import Magics, cell_magic, line_cell_magic, line_magic, magics_class
from IPython.core.magic_arguments import argument, parse_argstring
from IPython.display import Code, display

from covalab.client import connect
from covalab.core.errors import GraphError
from covalab.core.lifecycle import covalent_text
from covalab.core.model import Status
from covalab.core.own_attributes import own_attribute
from covalab.jupyter.cells.header import as_python_reads, is_name, read_header, without_comment
from covalab.jupyter.cells.ipython_lines import CellRefused
from covalab.jupyter.notebook.background import BackgroundCell
from covalab.jupyter.notebook.display import Definition, Dispatches
from covalab.jupyter.notebook.electron_cell import Options
from covalab.jupyter.notebook.interrupt_magics import InterruptMagics
from covalab.jupyter.notebook.magic_helpers import evaluate, id_in, magic, without_tags
from covalab.jupyter.notebook.session import CellElectron, Session
from covalab.jupyter.notebook.session_lattice import Build
from covalab.jupyter.notebook.waiting import WAIT, WaitingLine, WaitingTransformer, names_needed
from covalab.sdk.building.lattice import Lattice, lattice
from covalab.sdk.dispatching import api
from covalab.sdk.dispatching.redispatch import redispatch
from covalab.sdk.environment import environment
from covalab.sdk.results.handle import DispatchHandle
from covalab.sdk.results.result import Result

_STATUSES: Final[tuple[Status, ...]] = get_args(Status)
_MOST: Final = 1000  # of an answer of the dispatcher


def load_ipython_extension(ipython: Any) -> None:
    """Register the magics and start the workers of this kernel's environment, without waiting for them."""
    ipython.register_magics(CovalabMagics, InterruptMagics)
    threading.Thread(target=_prewarm, name="covalab-prewarm", daemon=True).start()


def _prewarm() -> None:
    # Loading the extension must not fail or print anything. The first dispatch raises the same error, where it matters.
    with suppress(Exception):
        connect().warm(environment())


def _count(text: str) -> int:
    if not (text.isdecimal() and 1 <= int(text) <= _MOST):
        message = f"{text!r} is no number from 1 to {_MOST}"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def _unquoted(text: str) -> str:
    """Return the value of an option without the quotes around it."""
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


class _Line:
    """Line below a cell, with a text that changes."""

    def __init__(self) -> None:
        self._output: Any = None

    def show(self, text: str) -> None:
        """Show a text in place of the one before."""
        if self._output is None:
            self._output = display(Definition(text), display_id=True)
        else:
            self._output.update(Definition(text))


def _amount(text: str) -> tuple[str, float]:
    """Return a resource and how much of it."""
    name, _, amount = text.partition("=")
    return name, float(amount or 1)


def _filled(lines: list[str]) -> list[str]:
    """Give an electron cell without code a line: IPython refuses cell magics without one."""
    if lines and lines[0].startswith("%%electron") and not any(line.strip() for line in lines[1:]):
        return [lines[0].rstrip("\n") + "\n", "# nothing\n"]
    return lines


@contextmanager
def _usage_errors() -> Iterator[None]:
    """Turn `CellRefused` into an error that IPython shows as one line, without a traceback through covalab."""
    try:
        yield
    except CellRefused as refused:
        raise UsageError(str(refused)) from None


@magics_class
class CovalabMagics(Magics):
    """Magics about cells and dispatches."""

    def __init__(self, shell: Any) -> None:
        super().__init__(shell)
        self._shell = shell
        self.session = Session(shell.user_ns)
        self.last: DispatchHandle | None = None
        self._background: dict[str, BackgroundCell] = {}
        shell.user_ns[WAIT] = lambda code: self._wait(ast.parse(code))
        shell.input_transformers_cleanup.append(_filled)
        shell.events.register("pre_run_cell", lambda _info: self.session.enter_context())
        shell.ast_transformers.append(
            WaitingTransformer(
                lambda names: sorted(set().union(*self.session.expected(names).values())),
                shell.user_ns,
                lambda: self.session.is_waiting,
            )
        )

    # Cells

    @magic(
        cell_magic,
        argument("--executor", help="executor of the electron: its name, or a variable of the notebook that holds it"),
        argument("--retries", type=int, default=0, help="number of times that a failed run is repeated"),
        argument(
            "--retry-on",
            action="append",
            default=[],
            help="type of error, such as timeout, after which the run is repeated; may be repeated",
        ),
        argument(
            "--retry-delay", type=float, help="seconds before the first repetition; each further wait is twice as long"
        ),
        argument("--time-limit", type=float, help="limit for one run, in seconds"),
        argument(
            "--resources",
            action="append",
            default=[],
            type=_amount,
            metavar="NAME=AMOUNT",
            help="resource that its worker must have, such as GPU=1; may be repeated",
        ),
        argument("--memory", type=_unquoted, help='memory that it needs, such as "4 GB"'),
        argument("--cores", type=int, default=1, help="number of processors that it needs"),
        argument(
            "--pip",
            action="append",
            default=[],
            type=_unquoted,
            help="package that the electron needs; may be repeated",
        ),
        argument(
            "--bash",
            action="append",
            default=[],
            type=_unquoted,
            help="shell command to run before the electron; may be repeated",
        ),
        argument(
            "--run",
            action="store_true",
            help="dispatch the cell at once; its outputs are set in this notebook when it is done",
        ),
        argument("--name", help="name of the electron, if the line has no signature"),
    )
    def electron(self, line: str, cell: str) -> None:
        """Make this cell an electron: a task that runs in the background when its lattice is dispatched.

        ::

            %%electron NAME(parameters) -> outputs --options     # comment

        With a signature the parameters are the inputs, as in Python (defaults, annotations, ``*args``). The outputs
        are the names after ``->``; without ``->`` the value of the last line is the output. Modules, functions and
        classes of the notebook are sent along; any other value must be a parameter.

        Without a signature, inputs and outputs are found from the code: names that the cell uses but does not set
        are inputs, names that it sets are outputs. ``%lattice NAME`` wires such cells together.

        ``--pip "scipy<1.12"`` installs a package for this electron only; ``--bash "make"`` runs a command before it.

        The cell runs when a lattice with it is dispatched (``%dispatch``), or at once with ``--run``.
        """
        with _usage_errors():
            header = read_header(line)
            options = parse_argstring(self.electron, header.options)
            text, first_line = self._whole_cell("electron", line, cell)
            made = self.session.define(
                header,
                text,
                first_line,
                Options(
                    self._executor(options.executor),
                    options.retries,
                    options.time_limit,
                    tuple(options.retry_on),
                    options.retry_delay,
                    tuple(options.pip),
                    tuple(options.bash),
                    dict(options.resources),
                    options.memory,
                    options.cores,
                ),
                name=self._checked_name(options.name),
                key=self._cell_id(),
                flags=self._shell.compile.flags,
                runs_now=options.run,
                is_parameters="parameters" in ((self._message().get("metadata") or {}).get("tags") or ()),
            )
            if options.run:
                self._wait(made.part.cell.tree)
            single = self._single(made) if options.run else None
        if single is not None:
            with _usage_errors():
                self._run(made, *single)
        elif header.arguments is None:
            display(Definition(f"electron {made.signature}"))

    def _single(self, made: CellElectron) -> tuple[Lattice, Build]:
        try:
            return self.session.single(made)
        except CellRefused:
            self.session.forget(made)  # a lattice of all cells is not to fail for it, too
            raise

    def _run(self, made: CellElectron, single: Lattice, build: Build) -> None:
        """Dispatch one electron and fetch its outputs in a thread, which prints nothing."""
        handle = self.last = api.dispatch(single)()
        cell = BackgroundCell(made, handle, self.session, build.sent)
        output = display(cell.bundle(), raw=True, display_id=True)

        def update(bundle: dict[str, Any]) -> None:
            if output is not None:  # without a front end there is none, but the names are set all the same
                output.update(bundle, raw=True)

        self._background[str(handle)] = cell
        threading.Thread(target=cell.follow, args=(update,), name=f"covalab-run-{handle}", daemon=True).start()

    def _wait(self, tree: ast.Module) -> None:
        """Wait for what code needs of cells with `--run`; a plain cell that needs something calls this first."""
        # Again, because what has arrived may be a function that needs more.
        while making := self.session.expected(names_needed(tree, self._shell.user_ns)):
            for cell, names in making.items():
                WaitingLine(_Line().show).wait(names, cell.name, cell.wait)
                if cell.error is not None:
                    raise cell.error
        self.session.enter_context()

    @magic(
        line_cell_magic,
        argument("--output", help="names that the lattice returns, separated by commas (only with %%lattice NAME)"),
    )
    def lattice(self, line: str, cell: str | None = None) -> Any:
        """Make a lattice: a workflow of electrons.

        ::

            %%lattice NAME(parameters) -> outputs
            model = train(load(), C)
            score(model)

        The cell is run when the lattice is dispatched; calls of electrons in it are recorded as nodes of a graph. The
        lattice returns the value of the last line, or the names after ``->``.

        ::

            %lattice NAME
            %lattice NAME(C=1.0) --output accuracy

        As one line it wires all ``%%electron`` cells of this notebook by the names that they use and set, and shows the
        lattice as Python. A name that no cell makes is taken from the notebook when the lattice is dispatched, or is a
        parameter, if named here. With ``--output`` only the cells that those outputs need are used.
        """
        with _usage_errors():
            if cell is not None:
                header = read_header(line, "%%lattice")
                if header.options:
                    message = f"%%lattice has no options, so not `{header.options}`; options belong to its electrons"
                    raise UsageError(message)
                text, first_line = self._whole_cell("lattice", line, cell)
                self.session.define_lattice(header, text, first_line, self._shell.compile.flags)
                return None
            header = read_header(line, "%lattice")
            options = parse_argstring(self.lattice, header.options)
            if header.name is None:
                message = "a lattice needs a name: %lattice NAME"
                raise UsageError(message)
            wanted = header.outputs
            if options.output is not None:
                wanted = tuple(name.strip() for name in options.output.split(",") if name.strip())
            _, source = self.session.wire(header.name, header.arguments, wanted)
        return Code(source, language="python")

    # Lines

    @magic(line_magic)
    def dispatch(self, line: str) -> DispatchHandle:
        """Run a lattice in the background: ``%dispatch NAME(arguments)``.

        The live graph appears here, and the kernel is free at once. ``run = %dispatch NAME(arguments)`` keeps the
        dispatch id, with which ``ct.get_result(run)`` finds the result in any later session. An electron is dispatched
        as a lattice of its own. ``%dispatch --tag paper NAME(arguments)`` gives it a tag; there may be several.
        """
        text, tags = without_tags(without_comment(line))
        form = "write %dispatch NAME(arguments), e.g. %dispatch experiment(C=0.5)"
        try:
            call = ast.parse(text, mode="eval").body
        except SyntaxError as error:
            message = f"`{text}` is not a call ({error.msg}); {form}"
            raise UsageError(message) from None
        if not isinstance(call, ast.Call):
            call = ast.Call(call, [], [])
        name = ast.unparse(call.func)
        if not isinstance(call.func, (ast.Name, ast.Attribute)):
            message = f"`{text}` does not name a lattice; {form}"
            raise UsageError(message)
        try:
            start = api.dispatch(self._lattice_named(name), tags=tags)
        except GraphError as error:
            raise UsageError(str(error)) from None
        # The arguments are evaluated as the user wrote them, in a call of `start` instead of the lattice.
        hidden = "__covalab_dispatch__"
        expression = ast.Expression(ast.Call(ast.Name(hidden, ast.Load()), call.args, call.keywords))
        code = compile(ast.fix_missing_locations(expression), f"<dispatch {name}>", "eval")
        self.last = evaluate(code, self._shell.user_ns, {hidden: start})
        assert self.last is not None
        return self.last

    def _lattice_named(self, name: str) -> Lattice:
        try:
            found = evaluate(name, self._shell.user_ns)
        except (NameError, AttributeError):
            message = f"there is no lattice {name!r}; %%lattice {name}(...) or @ct.lattice makes one"
            raise UsageError(message) from None
        if isinstance(found, Lattice):
            return found
        if callable(found) and own_attribute(found, "electron_object") is not None:
            single: Lattice = lattice(found)
            return single
        message = f"{name!r} is not a lattice but of type {type(found).__name__}; %%lattice or @ct.lattice makes one"
        raise UsageError(message)

    @magic(
        line_magic,
        argument("--status", help=f"only dispatches with this status: {', '.join(_STATUSES)}"),
        argument("-n", type=_count, default=20, help="number of dispatches, newest first"),
    )
    def dispatches(self, line: str) -> Dispatches:
        """List the dispatches in the data folder, from this and all other notebooks, newest first."""
        options = parse_argstring(self.dispatches, without_comment(line))
        status: Status | None = None
        if options.status is not None:
            status = _parse_status(options.status)
        return Dispatches(connect().dispatches(status=status, count=options.n))

    @magic(
        line_magic,
        argument(
            "id",
            nargs="?",
            help="dispatch id, or a variable that holds one; by default the last dispatch of this notebook",
        ),
        argument("--wait", action="store_true", help="wait until the dispatch has ended"),
    )
    def result(self, line: str) -> Result:
        """Return the result of a dispatch: ``%result``, ``%result ID --wait``, ``r = %result run``."""
        options = parse_argstring(self.result, without_comment(line))
        dispatch_id = self._dispatch_id(options.id)
        result = api.get_result(dispatch_id, wait=options.wait)
        if options.wait and dispatch_id in self._background:
            self._background[dispatch_id].wait()  # then the names are in the notebook too
            self.session.enter_context()
        return result

    @magic(
        line_magic,
        argument("id", help="dispatch id, or a variable that holds one"),
    )
    def cancel(self, line: str) -> str:
        """Cancel a dispatch. Finished results stay, running tasks are stopped, the others never start."""
        options = parse_argstring(self.cancel, without_comment(line))
        return api.cancel(self._dispatch_id(options.id))

    @magic(
        line_magic,
        argument("id", help="dispatch id, or a variable that holds one"),
        argument(
            "--replace",
            action="append",
            default=[],
            metavar="OLD=NEW",
            help="replace the electron OLD by the electron NEW of this notebook; may be repeated",
        ),
        argument(
            "--reuse",
            action="store_true",
            help="take over results of the original whose code and inputs are still the same",
        ),
        argument(
            "--from",
            dest="from_nodes",
            action="append",
            default=[],
            metavar="NODE",
            help="run this node, and all that follow from it, again and reuse the others: its number or name",
        ),
    )
    def redispatch(self, line: str) -> DispatchHandle:
        """Run a dispatch again: ``%redispatch ID --replace train_svm=train_svm_v2 --reuse``.

        The new dispatch has the same arguments and a new id. The original's notebook and kernel are not needed.
        """
        options = parse_argstring(self.redispatch, without_comment(line))
        replacements = {}
        for text in options.replace:
            old, _, new = text.partition("=")
            if not old or not new:
                message = f"--replace {text}: write the old name and the new electron, e.g. --replace train=train_v2"
                raise UsageError(message)
            if new not in self._shell.user_ns:
                message = f"--replace {text}: there is no electron {new!r} in this notebook; run the cell that makes it"
                raise UsageError(message)
            replacements[old] = self._shell.user_ns[new]
        start = redispatch(
            self._dispatch_id(options.id), None, replacements, options.reuse, from_nodes=options.from_nodes
        )
        self.last = start()
        return self.last

    # The notebook and the present cell

    def _dispatch_id(self, text: str | None) -> str:
        if text is not None:
            return id_in(self._shell, text)
        if self.last is not None:
            return str(self.last)
        newest = connect().dispatches(count=1)
        if not newest:
            message = "nothing was dispatched yet; %dispatch NAME(arguments) does it"
            raise UsageError(message)
        return newest[0].id

    def _executor(self, text: str | None) -> Any:
        """Return the executor that `--executor` names: an object in a variable of the notebook, else the name."""
        return self._shell.user_ns.get(text, text) if text is not None else None

    @staticmethod
    def _checked_name(name: str | None) -> str | None:
        if name is not None and not is_name(name):
            message = f"--name {name}: the name of an electron is a Python name, like fit_model"
            raise UsageError(message)
        return None if name is None else as_python_reads(name)

    def _cell_id(self) -> str:
        return str((self._message().get("metadata") or {}).get("cellId") or "")

    def _whole_cell(self, magic: str, line: str, cell: str) -> tuple[str, int]:
        """Return the cell as the notebook shows it, and the line on which its code begins.

        IPython passes the text below the magic only; the kernel's request has empty lines above it, too.
        """
        code = (self._message().get("content") or {}).get("code") or ""
        before, found, _ = code.partition(f"%%{magic}")
        if found and not before.strip() and code.rstrip().endswith(cell.rstrip()):
            return code.rstrip("\n"), before.count("\n") + 2
        return f"%%{magic} {line}".rstrip() + "\n" + cell.rstrip("\n"), 2

    def _message(self) -> dict[str, Any]:
        """Return the request that the kernel is handling; a shell without a kernel has none."""
        parent = getattr(getattr(self._shell, "kernel", None), "get_parent", None)
        message = parent("shell") if parent is not None else None
        return message if isinstance(message, dict) else {}


def _parse_status(text: str) -> Status:
    """Return the status for our word or Covalent's, in any case."""
    for status in _STATUSES:
        if text.lower() == status or text.upper() == covalent_text(status):
            return status
    message = f"--status {text}: there is no such status; there are {', '.join(_STATUSES)}"
    raise UsageError(message)
