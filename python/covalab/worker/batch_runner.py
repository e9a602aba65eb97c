"""Running a batch: decode, call, encode, node after node, until the batch's time is up.

Never raises: whatever a task does ends as an outcome. What a task cannot survive (the process dying) is seen by
the pool.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeAlias

import msgspec

from covalab.blobs import BlobStore
from covalab.core.assemble import hashable
from covalab.core.codec import Encoded, class_name, decode, printable, serialize_small
from covalab.core.errors import CovalabError, DataFolderError, DepsFailed, SerializationError
from covalab.core.hooks import Hooks
from covalab.core.model import INLINE_LIMIT, Digest, ErrorType, Failure, Outcome, Status, SublatticePlan, Value
from covalab.core.placement import TaskPaths
from covalab.core.protocol import Argument, Batch, Outcomes, TaskSpec, TaskStarted
from covalab.core.source import register
from covalab.worker import context, reporting
from covalab.worker.capture import Capture
from covalab.worker.hook_runner import HookRunner, read_hooks
from covalab.worker.interrupt import InterruptibleTask

Emit: TypeAlias = Callable[[bytes], None]
"""Sends an encoded `TaskStarted`, `Noted` or `Outcomes` towards the dispatcher, in order, from any thread."""

_Ended: TypeAlias = "tuple[Value | None, Failure | None, Any]"

_REPORT_SECONDS: Final = 0.1
_FUNCTIONS_KEPT: Final = 256
_ATOMS: Final = frozenset({int, float, complex, bool, str, bytes, type(None)})
_ITEMS_LOOKED_AT: Final = 100
_OURS: Final = Path(__file__).parent
_BUILDS: Final = tuple(
    str(_OURS.parent / "sdk" / name) for name in ("building/sublattice.py", "dispatching/api.py", "building/lattice.py")
)
_NOT_THE_USERS: Final = (
    str(_OURS),
    *_BUILDS,
    str(_OURS.parent / "executors"),
    str(Path(asyncio.__file__).parent),
)
_MESSAGE_LIMIT: Final = 10_000
_TRACEBACK_LIMIT: Final = 100_000
_EXCEPTION_LIMIT: Final = 16_000  # its bytes travel and are kept with the failure


class TaskWorker:
    """What a worker process keeps between batches: decoded functions and hooks, and the two output files."""

    def __init__(self, spool: str) -> None:
        self.capture = Capture(spool)
        self.turn = InterruptibleTask()
        self.name = f"{os.getpid()}"
        self._functions: OrderedDict[tuple[str, ...], Callable[..., Any]] = OrderedDict()
        self._hooks: OrderedDict[Digest, Hooks] = OrderedDict()

    def run(self, batch: Batch, emit: Emit) -> None:
        """Run the nodes of a batch in order; emit their outcomes, at the latest when it ends."""
        self.capture.enter()
        self.turn.begin(batch.id)
        os.environ["COVALENT_DISPATCH_ID"] = batch.dispatch
        try:
            self._run(batch, emit)
        finally:
            context.process.task = context.OUTSIDE
            reporting.process.voice = None
            os.environ.pop("COVALENT_DISPATCH_ID", None)  # the task may have done so
            self.turn.end()
            self.capture.leave()

    def _run(self, batch: Batch, emit: Emit) -> None:
        enter(batch.cwd, batch.path)
        blobs = BlobStore(batch.blobs)
        report = _Report(batch.id, self, emit)
        inputs = Inputs(batch, blobs)
        reporting.process.voice = reporting.Reporter(batch, blobs, emit)
        completed: set[int] = set()
        needed = _used_inside(batch)
        deadline = time.monotonic() + batch.budget
        try:
            for position, task in enumerate(batch.tasks):
                if position and time.monotonic() >= deadline:
                    break
                if not completed.issuperset(task.after):
                    continue  # its producer failed here; the dispatcher knows what follows
                if not self.turn.enter(task.node):
                    continue  # cancelled before it began
                report.begin(task.node)
                outcome, result = self._run_task(task, batch, blobs, inputs)
                if outcome.value is not None:
                    completed.add(task.node)
                    if task.node in needed:
                        inputs.keep(task.node, outcome.value, result)
                report.end(outcome)
        finally:
            report.close()

    def _run_task(self, task: TaskSpec, batch: Batch, blobs: BlobStore, inputs: Inputs) -> tuple[Outcome, Any]:
        """Run one node. Returns its outcome and the open value (None when it failed)."""
        started_at = time.time()
        began = time.perf_counter()
        value, failure, result = self._in_turn(task, batch, blobs, inputs)
        submission: Value | None = None
        if task.builds:
            submission, value = value, None
        ended_at = started_at + (time.perf_counter() - began)  # never before it began, whatever the clock does
        stdout, stderr = self.capture.take()
        if failure is not None and failure.traceback:
            stderr += failure.traceback
        if task.site is not None:
            _write_logs(task.site, stdout, stderr)
        status: Status = "cancelled" if failure is not None and failure.type == "cancelled" else "failed"
        if failure is None:
            status = "running" if task.builds else "completed"  # what was built has still to run
        outcome = Outcome(
            task.node, status, started_at, ended_at, value, failure, stdout, stderr, self.name, submission
        )
        return outcome, result

    def _in_turn(self, task: TaskSpec, batch: Batch, blobs: BlobStore, inputs: Inputs) -> _Ended:
        """Run one node where its executor wants it; may be interrupted."""
        context.process.task = context.Context(batch.dispatch, task.node)
        try:
            try:
                run = self._with_hooks if task.hooks else self._call
                if task.site is None:
                    ended = run(task, batch, blobs, inputs)
                else:
                    with _standing_in(task.site.workdir):
                        ended = run(task, batch, blobs, inputs)
            finally:
                self.turn.leave()
        except BaseException as error:  # noqa: BLE001 - there is no such folder, or an interrupt came in between
            ended = None, failure_of(error, "runtime"), None
        if self.turn.interrupted:
            self.turn.leave()  # once more: the interrupt may have come on the way into the first
            ended = None, Failure("cancelled", "interrupted, because it was cancelled"), None
        return ended

    def _with_hooks(self, task: TaskSpec, batch: Batch, blobs: BlobStore, inputs: Inputs) -> _Ended:
        around: HookRunner | None = None
        try:
            around = HookRunner(self._hooks_of(task, batch, blobs), batch.packages)
            around.before()
            ended = self._call(task, batch, blobs, inputs, around)
            if ended[1] is None:
                around.after()
        except BaseException as error:  # noqa: BLE001 - hooks are the user's code
            return None, failure_of(error, "deps"), None
        finally:
            if around is not None:
                around.leave()
        return ended

    def _call(
        self, task: TaskSpec, batch: Batch, blobs: BlobStore, inputs: Inputs, around: HookRunner | None = None
    ) -> _Ended:
        """Open function and inputs, call, close the value: value or failure, and the open value."""
        try:
            function = self._function(task, batch, blobs, around.folders if around is not None else ())
            what = f"an input of electron {task.name!r} (node {task.node})"
            args = [inputs.open(argument, what) for argument in task.args]
            kwargs = {name: inputs.open(argument, what) for name, argument in task.kwargs.items()}
            if around is not None:
                kwargs.update(around.given)
        except BaseException as error:  # noqa: BLE001 - opening a value runs the user's code
            return None, failure_of(error, "storage" if isinstance(error, DataFolderError) else "serialization"), None
        try:
            result = function(blobs, *args, **kwargs) if task.builds else function(*args, **kwargs)
            if inspect.iscoroutine(result):
                result = asyncio.run(result)
        except BaseException as error:  # noqa: BLE001 - also SystemExit: it ends the task, not the worker
            return None, failure_of(error, "runtime"), None
        try:
            if task.builds:
                value = _serialized_plan(result, blobs)
            else:
                value = blobs.serialize(result, what=f"the value of electron {task.name!r} (node {task.node})")
        except BaseException as error:  # noqa: BLE001 - closing a value runs the user's code
            return None, failure_of(error, "storage" if isinstance(error, DataFolderError) else "serialization"), None
        return value, None, result

    def _hooks_of(self, task: TaskSpec, batch: Batch, blobs: BlobStore) -> Hooks:
        hooks = self._hooks.get(task.hooks)
        if hooks is None:
            data = batch.code.get(task.hooks)
            hooks = self._hooks[task.hooks] = read_hooks(blobs.read(task.hooks) if data is None else data)
            if len(self._hooks) > _FUNCTIONS_KEPT:
                self._hooks.popitem(last=False)
        return hooks

    def _function(
        self, task: TaskSpec, batch: Batch, blobs: BlobStore, folders: tuple[str, ...] = ()
    ) -> Callable[..., Any]:
        # With other packages beside it, the same code is another function.
        key = (task.function, *folders)
        function = self._functions.get(key)
        if function is None:
            what = f"the function of electron {task.name!r} (node {task.node})"
            data = batch.code.get(task.function)
            try:
                function = decode(blobs.read(task.function) if data is None else data, what=what)
            except SerializationError as error:
                cause = error.__cause__
                if isinstance(cause, ModuleNotFoundError):
                    message = (
                        f"{what} needs the module {cause.name!r}, which {sys.executable} does not have; "
                        "install it there, or put the module's file beside the notebook"
                    )
                    raise SerializationError(message) from cause
                raise
            register(function)  # a traceback shows the lines of the cell that it came from
            self._functions[key] = function
            if len(self._functions) > _FUNCTIONS_KEPT:
                self._functions.popitem(last=False)
        else:
            self._functions.move_to_end(key)
        return function


class _Report:
    """Outcomes on their way out: together while they come fast, at once when the batch lingers."""

    def __init__(self, batch: int, worker: TaskWorker, emit: Emit) -> None:
        self._batch = batch
        self._worker = worker
        self._emit = emit
        self._encoder = msgspec.msgpack.Encoder()
        self._lock = threading.Lock()
        self._outcomes: list[Outcome] = []
        self._node = -1
        self._begun_at = 0.0
        self._told = True
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def begin(self, node: int) -> None:
        with self._lock:
            self._node, self._begun_at, self._told = node, time.time(), False
            if self._thread is None:
                # The first node is told at once: it is what the user sees move, and what to blame if we die.
                self._tell()
                self._thread = threading.Thread(target=self._linger, daemon=True)
                self._thread.start()

    def end(self, outcome: Outcome) -> None:
        with self._lock:
            self._told = True
            self._outcomes.append(outcome)

    def close(self) -> None:
        self._ended.set()
        with self._lock:
            self._flush()

    def _linger(self) -> None:
        """While the batch lasts, tell every tenth of a second what has ended and what is running."""
        while not self._ended.wait(_REPORT_SECONDS):
            with self._lock:
                self._flush()
                if not self._told and time.time() - self._begun_at > _REPORT_SECONDS / 2:
                    self._tell()

    def _tell(self) -> None:
        self._told = True
        begun = TaskStarted(self._batch, self._node, self._begun_at, os.getpid(), self._worker.capture.stem)
        self._emit(self._encoder.encode(begun))

    def _flush(self) -> None:
        if self._outcomes:
            outcomes, self._outcomes = self._outcomes, []
            payload = self._encoder.encode(outcomes)
            self._emit(self._encoder.encode(Outcomes(self._batch, payload)))


def _serialized_plan(plan: SublatticePlan, blobs: BlobStore) -> Value:
    """Serialize the graph that a sublattice built, in the form in which the dispatcher reads it: no pickle."""
    data = msgspec.msgpack.encode(plan)
    if len(data) <= INLINE_LIMIT:
        return Value(len(data), "SublatticePlan", data=data)
    return Value(len(data), "SublatticePlan", digest=blobs.put(Encoded([data], len(data))))


def enter(cwd: str, path: list[str]) -> None:
    """Stand where the notebook stands: its folder, and what it can import."""
    for entry in reversed(path):
        if entry not in sys.path:
            sys.path.insert(0, entry)
    try:
        if os.getcwd() != cwd:  # noqa: PTH109 - a string is what is compared
            os.chdir(cwd)
    except OSError:
        return  # the folder is gone: the tasks that need it will say so themselves


@contextmanager
def _standing_in(folder: str) -> Iterator[None]:
    """Stand in another folder, which is made if it is not there, and come back."""
    if not folder:
        yield
        return
    before = os.getcwd()  # noqa: PTH109 - a string is what is restored
    folder = os.path.expanduser(folder)  # noqa: PTH111
    os.makedirs(folder, exist_ok=True)  # noqa: PTH103
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _write_logs(site: TaskPaths, *texts: str) -> None:
    for name, text in zip((site.log_stdout, site.log_stderr), texts, strict=True):
        if name:
            path = Path(name).expanduser()
            with suppress(OSError):  # the store has what was printed
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("a") as file:
                    file.write(text)


def _used_inside(batch: Batch) -> set[int]:
    return {node for task in batch.tasks for node in task.after}


class Inputs:
    """What the tasks of a batch are called with: values from outside, and those made earlier in the batch.

    Every use opens its own copy, so that what one task does to it no other task sees.
    """

    def __init__(self, batch: Batch, blobs: BlobStore) -> None:
        self._shared = batch.shared
        self._blobs = blobs
        self._closed: dict[int, Value] = {}
        self._open: dict[int, Any] = {}  # those that nothing can change

    def keep(self, node: int, value: Value, result: Any) -> None:
        """Keep the value of a task for those after it."""
        self._closed[node] = value
        if _cannot_change(result):
            self._open[node] = result

    def open(self, argument: Argument, what: str) -> Any:
        """Open an input."""
        if argument.value is not None:
            return self._blobs.deserialize(argument.value, what=what)
        if argument.items is not None:
            return [self.open(item, what) for item in argument.items]
        if argument.pairs is not None:
            keys, values = (self.open(side, what) for side in argument.pairs)
            return {hashable(key): value for key, value in zip(keys, values, strict=True)}
        if argument.shared >= 0:
            return self._blobs.deserialize(self._shared[argument.shared], what=what)
        if argument.node in self._open:
            return self._open[argument.node]
        return self._blobs.deserialize(self._closed[argument.node], what=what)


def _cannot_change(value: Any) -> bool:
    """Whether a value may be handed on as it is: whoever has it, nobody can do anything to it.

    Others are opened anew for each use. That costs little where it would matter: a blob is mapped, not read, and its
    pages are those that its maker has just written, until somebody writes to one.
    """
    kind = type(value)
    if kind in _ATOMS:
        return True
    if (kind is not tuple and kind is not frozenset) or len(value) > _ITEMS_LOOKED_AT:
        return False
    return all(type(item) in _ATOMS for item in value)


def failure_of(error: BaseException, type_: ErrorType) -> Failure:
    """Describe an exception for somebody who wrote the task and not covalab."""
    kind = type(error)
    kinds = tuple(map(class_name, kind.__mro__[:-1]))
    exception = kinds[0]
    try:
        message = _cut(str(error), _MESSAGE_LIMIT)
    except Exception:  # noqa: BLE001 - __str__ is the user's code
        message = "(its text cannot be made: __str__ raised)"
    if isinstance(error, DepsFailed):
        cause = error.__cause__
        of_cause = "" if cause is None or isinstance(cause, CovalabError) else failure_of(cause, "deps").traceback
        return Failure("deps", message, exception, f"{of_cause}{kind.__name__}: {message}\n")
    if type_ != "runtime" and isinstance(error, CovalabError):
        return Failure(type_, message, exception, f"{kind.__name__}: {message}\n", kinds)
    try:
        text = "".join(traceback.format_exception(kind, error, _users_frames(error.__traceback__)))
    except Exception:  # noqa: BLE001 - so is whatever the traceback shows
        text = f"{exception}: {message}\n"
    return Failure(type_, message, exception, _cut(text, _TRACEBACK_LIMIT), kinds, _closed_exception(error))


def _closed_exception(error: BaseException) -> Value | None:
    """Close an exception for `TaskError.exception`; None if that cannot be done, or takes too much."""
    try:
        value = serialize_small(error, text="")
    except Exception:  # noqa: BLE001 - its __reduce__ is the user's code
        return None
    return value if value.size <= _EXCEPTION_LIMIT else None


def _cut(text: str, limit: int) -> str:
    """Leave out the middle of a text that is too long to be told, as of an error that quotes a table."""
    half = limit // 2
    if len(text) > limit:
        text = f"{text[:half]}\n… {len(text) - 2 * half:,} characters left out …\n{text[-half:]}"
    return printable(text, len(text))


def _users_frames(trace: TracebackType | None) -> TracebackType | None:
    """Cut the frames of this package, and of the event loop it starts, off the top of a traceback."""
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(_NOT_THE_USERS):
        trace = trace.tb_next
    return trace
