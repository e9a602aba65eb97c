"""Shell of a task process: IPython's, with a display hook and a publisher that record instead of sending.

Its name and its configuration are those of a kernel's, by which libraries decide how to show things. It keeps no
history on the disk, starts no thread, and makes no folder.
"""

from __future__ import annotations

import ast
import builtins
import linecache
import sys
import types
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from typing import Any, Final, NamedTuple

from IPython.core.compilerop import CachingCompiler
from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.profiledir import ProfileDir
from IPython.paths import get_ipython_dir
from traitlets import Type, default
from traitlets.config import Config

from covalab.core.cell_source import remember
from covalab.core.tracebacks import without_frames
from covalab.worker.outputs import loops, widgets
from covalab.worker.outputs.recorder import recorder

OWN_NAMES: Final = frozenset(
    {"_", "__", "___", "_i", "_ii", "_iii", "_ih", "_oh", "_dh", "In", "Out", "exit", "quit", "open", "get_ipython"}
)
"""Names that the shell sets in the user's namespace, beside `_1`, `_i1` and so on."""


_NOT_HERE: Final = (
    "covalab: nothing was displayed here under the id {!r}: what an earlier cell has displayed stays as it was. "
    "Display it again in this cell.\n"
)


class CellEnd(NamedTuple):
    """End of a cell: the value of its last expression, if it was shown, or the exception that ended it."""

    value: Any = None
    has_value: bool = False
    error: BaseException | None = None


class _Compiler(CachingCompiler):
    """Compiler of cells: each has the file name that it was given, and the line numbers that the notebook shows."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.next: tuple[str, int, str] | None = None
        self._shifts: dict[str, int] = {}

    def cache(self, transformed_code: str, number: int = 0, raw_code: str | None = None) -> str:
        """Return the file name of a cell, and remember its text."""
        if self.next is None:  # code of which a magic or the task is the author
            return super().cache(transformed_code, number, raw_code)
        (filename, first_line, text), self.next = self.next, None
        # IPython takes empty lines at the start away.
        n_empty = next((n for n, line in enumerate(text.splitlines()) if line.strip()), 0)
        self._shifts[filename] = first_line - 1 + n_empty
        if text not in "".join(linecache.getlines(filename)):  # who runs it may have remembered all of the cell
            remember(filename, "\n" * (first_line - 1) + text)
        return filename

    def ast_parse(self, source: str, filename: str = "<unknown>", symbol: str = "exec") -> ast.AST:
        """Parse code; that of a cell begins where the notebook shows it."""
        shift = self._shifts.get(filename, 0)
        try:
            tree = super().ast_parse(source, filename, symbol)
        except SyntaxError as error:
            if shift and error.filename == filename:
                error.lineno = None if error.lineno is None else error.lineno + shift
                error.end_lineno = None if error.end_lineno is None else error.end_lineno + shift
                if len(error.args) == 2 and isinstance(error.args[1], tuple):  # pickled and copied by these
                    name, line, column, *rest = error.args[1]
                    rest[1:2] = [line + shift for line in rest[1:2]]
                    error.args = error.args[0], (name, line + shift, column, *rest)
            raise
        return ast.increment_lineno(tree, shift) if shift else tree

    def format_code_name(self, name: str) -> tuple[str, str] | None:
        """Return how a traceback calls a cell: `<cell fit 1a2b3c4d>` is Cell fit."""
        if name not in self._shifts:
            return super().format_code_name(name)
        kind, _, rest = name.strip("<>").partition(" ")
        return (kind.capitalize(), rest.rpartition(" ")[0] or rest) if rest else ("Cell", kind)


class _Hook(DisplayHook):
    """Display hook that records."""

    def write_output_prompt(self) -> None:
        """Write nothing: a notebook shows the prompt beside the output."""

    def write_format_data(self, format_dict: Mapping[str, Any], md_dict: Mapping[str, Any] | None = None) -> None:
        """Record the value of a cell's last expression."""
        if widgets.VIEW in format_dict:
            widgets.show(format_dict, md_dict)
        else:
            recorder.result(format_dict, md_dict, self.prompt_count)

    def log_output(self, format_dict: Mapping[str, Any]) -> None:
        """Keep nothing."""

    def finish_displayhook(self) -> None:
        """End without a line break."""
        self._is_active = False


class _Publisher(DisplayPublisher):
    """Publisher that records."""

    def publish(
        self,
        data: Any,
        metadata: Any = None,
        *_: Any,
        transient: Mapping[str, Any] | None = None,
        update: bool = False,
        **__: Any,
    ) -> None:
        """Record a display, or new content of one."""
        renderers = getattr(self.shell, "mime_renderers", None) or {}
        for kind, render in renderers.items():
            if kind in data:
                render(data[kind], (metadata or {}).get(kind))
                return
        if widgets.VIEW in data:
            widgets.show(data, metadata)
            return
        display_id = str((transient or {}).get("display_id") or "")
        if update and not recorder.has_displayed(display_id):
            if not recorder.misses(display_id):
                sys.stderr.write(_NOT_HERE.format(display_id))
            return
        (recorder.update if update else recorder.display)(data, metadata, display_id)

    def clear_output(self, wait: bool = False) -> None:
        """Record that the outputs are taken away."""
        recorder.clear(wait=wait)


class ZMQInteractiveShell(InteractiveShell):
    """Shell of this process. Libraries know a kernel's by the names of its class and of that class's module."""

    compiler_class = Type(_Compiler)
    displayhook_class = Type(_Hook)
    display_pub_class = Type(_Publisher)
    kernel = None

    @default("profile_dir")
    def _default_profile_dir(self) -> ProfileDir:
        # The user's own, as in a kernel, for magics such as `%store`; until one asks for it, no folder is made.
        found: ProfileDir = ProfileDir.create_profile_dir_by_name(get_ipython_dir(), "default")
        return found

    def init_ipython_dir(self, ipython_dir: Any) -> None:
        """Make no folder."""

    def init_profile_dir(self, profile_dir: Any) -> None:
        """Make no folder."""

    def init_virtualenv(self) -> None:
        """Leave the search path as it is."""

    def init_sys_modules(self) -> None:
        """Leave `__main__` as it is."""

    def init_prompts(self) -> None:
        """Leave `sys.ps1` as it is: it would say that this is no program."""

    def should_run_async(self, raw_cell: str, **options: Any) -> bool:
        """Return whether a cell awaits something; one that does not finds the loop of those that do, as in a kernel."""
        found: bool = super().should_run_async(raw_cell, **options)
        if not found:
            loops.enter(raw_cell, self.user_ns)
        return found

    def enable_gui(self, gui: Any = None) -> None:
        """Do nothing: there are no windows."""

    def ask_exit(self) -> None:
        """Do nothing: `exit` ends a kernel, not a task."""

    def _tee(self, channel: str) -> Any:
        """Keep no copy of what is printed: that may be without end."""
        return nullcontext()

    def _format_exception_for_storage(self, *_: Any, **__: Any) -> dict[str, Any]:
        return {}

    def _showtraceback(self, etype: Any, evalue: Any, stb: list[str]) -> None:
        message = f"<{etype.__name__}: its text cannot be made>"
        with suppress(Exception):
            message = str(evalue)
        recorder.failure(evalue, etype.__name__, message, stb)

    def show_usage_error(self, exc: Any) -> None:
        """Print how a magic is used, as a kernel does; this is all that is shown of the error."""
        super().show_usage_error(exc)  # type: ignore[no-untyped-call]
        recorder.error = exc

    def enter(self, namespace: dict[str, Any]) -> None:
        """Make a dictionary the namespace of the user."""
        if self.user_ns is namespace:
            return
        main = sys.modules.get("__main__")
        self.user_module = main if main is not None and vars(main) is namespace else _View(namespace)
        self.user_ns = namespace
        hook: Any = self.displayhook
        namespace.update({"_": hook._, "__": vars(hook)["__"], "___": vars(hook)["___"]})
        self.init_user_ns()  # type: ignore[no-untyped-call]


ZMQInteractiveShell.__module__ = "ipykernel.zmqshell"  # which `ipython` lets libraries find


class _View(types.ModuleType):
    """Module over a dictionary."""

    def __init__(self, namespace: dict[str, Any]) -> None:
        super().__init__("__main__")
        object.__setattr__(self, "_names", namespace)

    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]
        return object.__getattribute__(self, "_names")  # type: ignore[no-any-return]

    def __getattr__(self, name: str) -> Any:
        try:
            return object.__getattribute__(self, "_names")[name]
        except KeyError:
            raise AttributeError(name) from None


def shell() -> ZMQInteractiveShell:
    """Return the shell of this process; it is made when it is first asked for."""
    found = InteractiveShell._instance  # noqa: SLF001 - `initialized` makes one
    if found is None:
        found = _new_shell()
    return found


def _new_shell() -> ZMQInteractiveShell:
    config = Config()
    config.IPKernelApp.parent_appname = "covalab"
    config.HistoryManager.enabled = False
    config.HistoryManager.hist_file = ":memory:"
    excepthook, before = sys.excepthook, set(vars(builtins))
    made: ZMQInteractiveShell = ZMQInteractiveShell.instance(config=config, user_ns={})
    made.events.register("post_execute", widgets.refresh)
    with suppress(Exception):  # what a kernel loads by itself, if this version has it
        made.run_line_magic("load_ext", "storemagic")
    sys.excepthook = excepthook
    _kept_builtins.update({name: vars(builtins)[name] for name in vars(builtins).keys() - before})
    return made


_kept_builtins: Final[dict[str, Any]] = {}


def run_cell(text: str, *, filename: str, namespace: dict[str, Any], first_line: int = 1) -> CellEnd:
    """Run a cell as a kernel does; its outputs are recorded, and an exception is returned.

    Parameters
    ----------
    text
        The code of the cell.
    filename
        Its name in tracebacks; the same cell has the same.
    namespace
        The names that it reads and sets: `__main__.__dict__`.
    first_line
        The line of the cell, as the notebook shows it, at which the code begins.
    """
    ip = shell()
    ip.enter(namespace)
    for name, value in _kept_builtins.items():
        vars(builtins).setdefault(name, value)
    compiler: Any = ip.compile
    compiler.next = (filename, first_line, text)
    try:
        result = ip.run_cell(text, store_history=True)  # type: ignore[no-untyped-call]
    finally:
        compiler.next = None
        loops.leave()
    error = result.error_before_exec or result.error_in_exec
    if error is not None:
        _strip(error)
        return CellEnd(error=error)
    return CellEnd(result.result, result.result is not None)


def _strip(error: BaseException) -> None:
    """Take the frames of IPython from the top of a traceback."""
    trace = error.__traceback__
    while trace is not None and _is_of_ipython(trace.tb_frame):
        trace = trace.tb_next
    if isinstance(error, UsageError):  # what a magic refuses: the rest of the way to it tells nothing
        trace = without_frames(trace, _is_of_ipython)
    if trace is not None or isinstance(error, (SyntaxError, UsageError)):
        error.__traceback__ = trace


def _is_of_ipython(frame: types.FrameType) -> bool:
    return "/IPython/" in frame.f_code.co_filename
