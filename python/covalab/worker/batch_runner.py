"""Batch runner: decodes, calls and encodes the tasks of a batch, one after the other, until its time is up.

Never raises: whatever a task does ends as an outcome. The death of the process is reported by the pool.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import os
import sys
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, Final, NoReturn, TypeAlias

import msgspec

from covalab.blobs import BlobStore
from covalab.core.cell_source import register
from covalab.core.codec import Encoded, decode, inline_value
from covalab.core.errors import (
    STORAGE_ERRORS,
    CellNotRun,
    CovalabError,
    SerializationError,
)
from covalab.core.hooks import Hooks
from covalab.core.model import (
    INLINE_LIMIT,
    Digest,
    ErrorType,
    Failure,
    Outcome,
    Status,
    SublatticePlan,
    TextTime,
    Value,
)
from covalab.core.placement import TaskPaths
from covalab.core.protocol import Batch, TaskSpec
from covalab.crash_points import crash_point
from covalab.worker import after, context, environment, main_module, reporting
from covalab.worker.batch_report import BatchReports, Emit
from covalab.worker.capture import Capture
from covalab.worker.failures import failure_of
from covalab.worker.hook_runner import HookRunner, read_hooks
from covalab.worker.inputs import Inputs
from covalab.worker.interrupt import InterruptibleTask
from covalab.worker.kept_functions import KeptFunction, keep
from covalab.worker.late_output import LateOutput, dropped_notice, drops
from covalab.worker.main_module import NodeMain
from covalab.worker.node_state import NodeState
from covalab.worker.outputs import ipython
from covalab.worker.outputs.figures import flush_figures
from covalab.worker.outputs.recorder import recorder
from covalab.worker.outputs.stored import stored_outputs
from covalab.worker.process_tree import descendants, has_children
from covalab.worker.session.record import CellRecord, unfinished

_Ended: TypeAlias = "tuple[Value | None, Failure | None, Any]"
"""The end of a task: its serialized value or a failure, and the value itself for later tasks of the batch."""

OWN_THREADS: Final = "covalab"
"""Beginning of the names of threads of this package, which no task has left behind."""
_FUNCTIONS_KEPT: Final = 256


class TaskWorker:
    """State of a task process between batches: decoded functions and hooks, and the two output files.

    Parameters
    ----------
    spool
        The folder of the output files.
    on_node
        Called with batch and node before each task, at once, so that a death has a suspect.
    is_ours
        Whether a worker of our own cluster runs the batches; see `environment.enter`.
    """

    def __init__(
        self,
        spool: str,
        on_node: Callable[[int, int], None] = lambda _batch, _node: None,
        *,
        is_ours: bool = True,
    ) -> None:
        self._on_node = on_node
        self._is_ours = is_ours
        self.batch: Batch | None = None
        """The batch that runs."""
        self._position = 0
        self._given_back: set[int] = set()
        self.last_batch = -1
        """The number of a batch that is to end after the node that runs."""
        self.is_used_up = False
        """Whether threads of a task that was cancelled go on here; nothing but the end of the process stops them."""
        self.has_threads = False
        """Whether threads of a task that ended may write here what would be taken for output of the next one."""
        self._left_behind: set[int] = set()  # child processes that tasks have left
        self.capture = Capture(spool)
        self.interruptible = InterruptibleTask()
        self._reports = BatchReports()
        self._pid = os.getpid()
        self.name = f"{self._pid}"
        # By digest: a thousand nodes of one function unpickle it once per process; None: it is decoded for each.
        self._functions: OrderedDict[tuple[str, ...], tuple[KeptFunction, NodeMain] | None] = OrderedDict()
        self._state: NodeState | None = None
        self._late_output = LateOutput()
        self._session_context: contextvars.Context | None = None  # of the session that this process holds, if any
        self._hooks: OrderedDict[Digest, Hooks] = OrderedDict()
        recorder.is_late = drops
        ipython.install()

    def close(self) -> None:
        """Release what a fork does not take along: the thread and the files."""
        self._reports.close()
        self.capture.close()

    def resume(self, spool: str, on_node: Callable[[int, int], None], *, is_ours: bool) -> None:
        """Go on in a fork of the process in which this was closed; the parameters are those of the class."""
        self._on_node, self._is_ours = on_node, is_ours
        self._reports = BatchReports()
        self.capture.open(spool)
        self.interruptible.install()
        self._pid = os.getpid()
        self.name = f"{self._pid}"
        if self._state is not None:
            self._state.begin_process()

    def run(self, batch: Batch, emit: Emit) -> None:
        """Run the nodes of a batch in order; emit their outcomes, at the latest when it ends."""
        crash_point("task.batch")
        self.batch, self._given_back = batch, set()
        self.capture.enter()
        self.interruptible.begin(batch.id)
        try:
            with self._environment(batch):
                os.environ["COVALENT_DISPATCH_ID"] = batch.dispatch  # Covalent's tasks read it
                self._run(batch, emit)
        finally:
            context.process.task = context.OUTSIDE
            reporting.process.reporter = None
            # In this order: an interrupt that still comes must not hit the streams half way.
            self.interruptible.end()
            self.capture.leave()
            self.batch = None

    def _environment(self, batch: Batch) -> AbstractContextManager[None]:
        """Enter the environment of a batch. That of a session stays: its nodes may have changed it for each other."""
        if not batch.session:
            return environment.entered(batch, is_ours=self._is_ours)
        if self._session_context is None:
            environment.enter(batch, is_ours=self._is_ours)
        return nullcontext()

    def give_back(self) -> list[int]:
        """Return the nodes of the batch that have not begun and need nothing of the running one; they will not run."""
        if self.batch is None:
            return []
        left = self.batch.tasks[self._position :]
        kept = {left[0].node}
        for task in left:
            if not kept.isdisjoint(task.after):
                kept.add(task.node)
        self._given_back |= {task.node for task in left} - kept
        return [task.node for task in left if task.node in self._given_back]

    def _run(self, batch: Batch, emit: Emit) -> None:
        if environment.is_of_notebook(batch):
            ipython.act_as_notebook()
        state = self._begin_state(batch)
        blobs = BlobStore(batch.blobs)
        report = self._reports.begin(batch.id, self.capture, emit)
        inputs = Inputs(batch, blobs)
        reporting.process.reporter = reporting.Reporter(batch, blobs, emit, self.capture)
        completed: set[int] = set()
        needed = _used_inside(batch)  # only these outputs are kept: the others may be large
        deadline = time.monotonic() + batch.budget
        try:
            for position, task in enumerate(batch.tasks):
                # The first always runs, so that every batch gets its dispatch on.
                if position and (self.last_batch == batch.id or time.monotonic() >= deadline):
                    break
                self._position = position
                if task.node in self._given_back:
                    continue
                if not completed.issuperset(task.after):
                    continue  # its producer failed here; the dispatcher skips it
                if not self.interruptible.enter(task.node):
                    continue  # cancelled before it started
                self._on_node(batch.id, task.node)
                report.begin(task.node)
                outcome, result = self._run_task(task, batch, blobs, inputs, state)
                value = _value_after(outcome)
                if value is not None:
                    completed.add(task.node)
                    if task.node in needed:
                        inputs.keep(task.node, value, result)
                crash_point("task.done")
                report.end(outcome)
                crash_point("task.reported")
                self._part_from_children()
                if self.is_used_up or self.has_threads:
                    break
        finally:
            report.close()

    def _part_from_children(self) -> None:
        """Keep what processes print that a task left behind out of the output of the next one."""
        if has_children():
            new = set(descendants(os.getpid())) - self._left_behind
            if new:
                self._left_behind |= new
                self.capture.renew()

    def _begin_state(self, batch: Batch) -> NodeState:
        if batch.session and self._session_context is None:
            self._session_context = contextvars.Context()
        if self._state is None:  # now that the process is ready; afterwards only what this batch has set
            main_module.install()
            self._state = NodeState()
            self._state.libraries.before_closing = flush_figures
        elif not batch.session:
            self._state.begin_batch()
        return self._state

    def _run_task(
        self, task: TaskSpec, batch: Batch, blobs: BlobStore, inputs: Inputs, state: NodeState
    ) -> tuple[Outcome, Any]:
        """Run one task. Return its outcome and its value (None if it failed)."""
        started_at = time.time()
        start = time.perf_counter()
        recorder.start(started_at)
        # Its own call, so that an interrupt can only hit what is inside: the outcome below is always made.
        self._late_output.enter()
        run = state.run if self._session_context is None else self._session_context.run
        value, failure, result = run(self._run_interruptible, task, batch, blobs, inputs)
        if os.getpid() != self._pid:
            _end_copy()
        submission: Value | None = None
        if task.builds:
            submission, value = value, None
        ended_at = started_at + (time.perf_counter() - start)  # never before its start, whatever the clock does
        # Both before the output is taken: what they make the task print is its own.
        if not batch.session:
            state.put_back()
        left = [thread for thread in self._late_output.leftovers() if not thread.name.startswith(OWN_THREADS)]
        if left and self.interruptible.interrupted:
            self.is_used_up = True
            self.interruptible.hurry()  # again: it was put back
        notice = dropped_notice()
        if notice and batch.session:
            _say(notice)
        outputs: Value | None = None
        times: tuple[TextTime, ...] = ()
        if not recorder.is_empty:  # read before the text is taken, of which it has positions
            outputs, times = stored_outputs(*self.capture.texts(), failure, blobs)
        stdout, stderr = self.capture.take()
        self.has_threads = not batch.session and self._late_output.may_write(OWN_THREADS)
        # As a script would print it, and where people look for it.
        if failure is not None and failure.traceback:
            stderr += failure.traceback
        if task.paths is not None:
            _write_logs(task.paths, stdout, stderr)
        status = _status_of(failure, builds=task.builds)
        outcome = Outcome(
            task.node,
            status,
            started_at,
            ended_at,
            value,
            failure,
            stdout,
            stderr,
            self.name,
            submission,
            outputs,
            times=times,
        )
        return (outcome if after.process.complete is None else after.completed(outcome)), result

    def _run_interruptible(self, task: TaskSpec, batch: Batch, blobs: BlobStore, inputs: Inputs) -> _Ended:
        """Run one task in the folder that its executor names; it may be interrupted."""
        context.process.task = context.Context(batch.dispatch, task.node)
        self._late_output.mark()
        try:
            try:
                run = self._with_hooks if task.hooks else self._call
                if task.paths is None:
                    ended = run(task, batch, blobs, inputs)
                else:
                    with _working_folder(task.paths.workdir):
                        ended = run(task, batch, blobs, inputs)
            finally:
                self.interruptible.leave()
        except BaseException as error:  # noqa: BLE001 - the folder cannot be made, or an interrupt came in between
            ended = None, failure_of(error, "runtime"), None
        if self.interruptible.interrupted:
            self.interruptible.leave()  # once more: the interrupt may have come on the way into the first
            ended = None, Failure("cancelled", "interrupted, because it was cancelled"), None
        return ended

    def _with_hooks(self, task: TaskSpec, batch: Batch, blobs: BlobStore, inputs: Inputs) -> _Ended:
        hook_runner: HookRunner | None = None
        try:
            hook_runner = HookRunner(self._hooks_of(task, batch, blobs), batch.packages)
            hook_runner.before()
            ended = self._call(task, batch, blobs, inputs, hook_runner)
            if ended[1] is None:  # hooks after a task are for one that succeeded
                hook_runner.after()
        except BaseException as error:  # noqa: BLE001 - hooks are the user's code
            return None, failure_of(error, "deps"), None
        finally:
            if hook_runner is not None:
                hook_runner.leave()
        return ended

    def _call(
        self, task: TaskSpec, batch: Batch, blobs: BlobStore, inputs: Inputs, hook_runner: HookRunner | None = None
    ) -> _Ended:
        """Deserialize function and inputs, call, serialize the value."""
        phase: ErrorType = "serialization"
        main: NodeMain | None = None
        try:
            function, main = self._function(task, batch, blobs, hook_runner.folders if hook_runner is not None else ())
            main.enter()
            what = f"an input of electron {task.name!r} (node {task.node})"
            args = [inputs.deserialize(argument, what) for argument in task.args]
            kwargs = {name: inputs.deserialize(argument, what) for name, argument in task.kwargs.items()}
            if hook_runner is not None:
                kwargs.update(hook_runner.given)
            main.carry(args, kwargs)
            phase = "runtime"
            # A sublattice is built here, and stores the large values of its own graph as blobs.
            result = function(blobs, *args, **kwargs) if task.builds else function(*args, **kwargs)
            if inspect.iscoroutine(result):
                result = asyncio.run(result)
            phase = "serialization"
            if task.builds:
                value = _serialized_plan(result, blobs)
            else:
                value = _serialized(result, blobs, f"the value of electron {task.name!r} (node {task.node})")
        except BaseException as error:  # noqa: BLE001 - all three phases run the user's code; SystemExit ends only the task
            if task.builds and isinstance(error, STORAGE_ERRORS):
                phase = "storage"  # building a sublattice stores values of its graph
            is_not_run = isinstance(error, CellNotRun)
            failure = Failure("dependency", str(error)) if is_not_run else failure_of(error, phase)
            left = unfinished.take()
            if left is not None:
                with suppress(CovalabError):  # it fails in any case
                    value = _serialized(left, blobs, "what the cell left")
                    failure = msgspec.structs.replace(failure, left=value, goes_on=bool(left.state.broken))
            return None, failure, left
        finally:
            if main is not None:
                main.leave()
        return value, None, result

    def _hooks_of(self, task: TaskSpec, batch: Batch, blobs: BlobStore) -> Hooks:
        hooks = self._hooks.get(task.hooks)
        if hooks is None:
            hooks = self._hooks[task.hooks] = read_hooks(blobs.code(task.hooks, batch.code, "a hook"))
            if len(self._hooks) > _FUNCTIONS_KEPT:
                self._hooks.popitem(last=False)
        return hooks

    def _function(
        self, task: TaskSpec, batch: Batch, blobs: BlobStore, folders: tuple[str, ...] = ()
    ) -> tuple[Callable[..., Any], NodeMain]:
        """Return the function of a task, and the main module that it sees."""
        # With other packages or local modules, the same code imports other modules, so it is another function.
        key = (task.function, batch.local_modules, *folders)
        entry = self._functions.get(key)
        if entry is None or not entry[0].is_unchanged():
            what = f"the function of electron {task.name!r} (node {task.node})"
            try:
                function: Callable[..., Any] = decode(blobs.code(task.function, batch.code, what), what=what)
            except SerializationError as error:
                # The most common reason; the message of the import alone does not say which Python lacks it.
                cause = error.__cause__
                if isinstance(cause, ModuleNotFoundError):
                    message = (
                        f"{what} needs the module {cause.name!r}, which {sys.executable} does not have; "
                        "install it there, or put the module's file beside the notebook"
                    )
                    raise SerializationError(message) from cause
                raise
            register(function)  # a traceback shows the lines of the cell that it came from
            main_module.use_plain_names(function)
            main = NodeMain(function)
            if key not in self._functions or entry is not None:
                kept = keep(function)
                self._functions[key] = None if kept is None else (kept, main)
            if len(self._functions) > _FUNCTIONS_KEPT:
                self._functions.popitem(last=False)
            return function, main
        self._functions.move_to_end(key)
        return entry[0].function, entry[1]


def _status_of(failure: Failure | None, *, builds: bool) -> Status:
    if failure is None:
        return "running" if builds else "completed"  # the child dispatch that was built has still to run
    if failure.type == "dependency":
        return "skipped"
    return "cancelled" if failure.type == "cancelled" else "failed"


def _value_after(outcome: Outcome) -> Value | None:
    """Return what the next node of a batch begins with: of a cell that was not run what those before it left."""
    if outcome.status == "skipped" and outcome.failure is not None:
        return outcome.failure.left
    return outcome.value


def _serialized(result: Any, blobs: BlobStore, what: str) -> Value:
    """Serialize the value of a task; the record of a cell names the blobs that it refers to."""
    value = blobs.serialize(result, what=what)
    return msgspec.structs.replace(value, uses=result.blobs) if type(result) is CellRecord else value


def _serialized_plan(plan: SublatticePlan, blobs: BlobStore) -> Value:
    """Serialize the graph that a sublattice built, without pickle: the dispatcher runs no user code."""
    data = msgspec.msgpack.encode(plan)
    if len(data) <= INLINE_LIMIT:
        return inline_value(data, "SublatticePlan")
    return Value(len(data), "SublatticePlan", digest=blobs.put(Encoded([data], len(data))))


@contextmanager
def _working_folder(folder: str) -> Iterator[None]:
    """Enter another folder, made if necessary, and return."""
    if not folder:
        yield
        return
    try:
        before = os.getcwd()  # noqa: PTH109 - as text, like its alternative
    except FileNotFoundError:  # a task has removed it
        before = environment.own_folder()
    path = Path(os.path.expanduser(folder))  # noqa: PTH111 - Path raises for a user that does not exist
    path.mkdir(parents=True, exist_ok=True)
    os.chdir(path)
    try:
        yield
    finally:
        try:
            os.chdir(before)
        except OSError:  # removed meanwhile, which is no fault of this task's value
            os.chdir(environment.own_folder())


def _write_logs(paths: TaskPaths, *texts: str) -> None:
    for name, text in zip((paths.log_stdout, paths.log_stderr), texts, strict=True):
        if name:
            path = Path(name).expanduser()
            with suppress(OSError):  # the output is recorded in any case
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("a") as file:
                    file.write(text)


def _say(text: str) -> None:
    """Add text to what the running node prints."""
    with suppress(Exception):  # the task may have replaced the stream
        sys.stderr.write(text)


def _end_copy() -> NoReturn:
    """End a process that a task has forked and that returned from it, too: the node has one value."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # the task may have replaced it
            stream.flush()
    os._exit(0)


def _used_inside(batch: Batch) -> set[int]:
    return {node for task in batch.tasks for node in task.after}
