"""Client of a dispatcher: one method per request. Starts a dispatcher when none is running.

Every call is one request. Requests are repeated when the dispatcher went away in the middle: submissions carry their
own id, so a repeated one changes nothing.
"""

from __future__ import annotations

import http.client
import math
import os
import threading
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import quote, urlencode

import msgspec

from covalab.blobs import BlobStore
from covalab.client import paths, stopping
from covalab.client.connection import UnixConnection
from covalab.client.launcher import find, start_dispatcher
from covalab.client.silence import AnswerWait, Liveness, print_notice
from covalab.core import errors, protocol
from covalab.core.dispatcher_status import DispatcherStatus
from covalab.core.journal import Command, ExecutionSnapshot, JournalPage
from covalab.core.lifecycle import TERMINAL
from covalab.core.model import (
    DispatchChanges,
    DispatchId,
    DispatchRecord,
    DispatchSummary,
    Environment,
    Graph,
    NodeDetail,
    NodeOutput,
    Problem,
    Status,
    Submission,
    TaskQuery,
    TaskRow,
    TasksSummary,
    Trigger,
)
from covalab.core.outputs import Outputs as NodeOutputs
from covalab.core.place import place
from covalab.core.previews import Preview, PreviewQuery
from covalab.core.requests import (
    Archived,
    ExportRequest,
    ImportRequest,
    PurgeResult,
    RedispatchRequest,
    TagsRequest,
    Trusted,
)
from covalab.core.run_log import LogPage, LogQuery
from covalab.core.timeline import Timeline
from covalab.core.trigger_states import Firing, TriggerReport, TriggerState, TriggerWatches

Outputs = Literal["result", "all", "none"] | Sequence[int]

_NOT_FOUND: Final = 404
_ERROR: Final = 400
_GONE: Final = 410
_ATTEMPTS: Final = 4
_SERVED_SECONDS: Final = 5.0
"""A wait that was cut after this was served until then; those that are cut before count as one that is in vain."""
_REMEDY: Final = "run `covalab stop` with that version, or install the same version on both sides, then try again"


class EventsPage(msgspec.Struct, frozen=True):
    """The dispatches that changed after event number `since` of the request, and the number to ask from next."""

    since: int
    dispatches: list[DispatchSummary]


class Client:
    """Client of one data folder's dispatcher. Safe to use from several threads.

    Parameters
    ----------
    data_dir
        The data folder; see `covalab.client.data_dir`.
    start
        Whether to start a dispatcher when none is running.

    Raises
    ------
    DispatcherUnavailable
        From any call, if there is no dispatcher and `start` is false, or if it cannot be started.
    VersionMismatch
        From any call, if the running dispatcher is of another, incompatible version of covalab.
    DataFolderError
        If the data folder cannot be used.

    Examples
    --------
    >>> from covalab.client import connect
    >>> client = connect()  # doctest: +SKIP
    >>> client.status().active  # doctest: +SKIP
    0
    """

    def __init__(self, data_dir: Path, *, start: bool = True) -> None:
        self.data_dir = data_dir
        self.where = str(data_dir)  # of its dispatches, for messages
        self.start = start
        self.blobs = BlobStore(paths.blob_folder(data_dir))
        self._local = threading.local()
        self._open: weakref.WeakSet[UnixConnection] = weakref.WeakSet()
        self._pid = os.getpid()
        self._liveness = Liveness()

    # -- dispatches ----------------------------------------------------------------------------------------------

    def submit(self, submission: Submission) -> DispatchSummary:
        """Record a dispatch and start it. Return after it is on the disk."""
        try:
            body = msgspec.msgpack.encode(submission)
        except UnicodeEncodeError as error:
            message = (
                f"dispatch of {submission.graph.name!a} has {error.object[:200]!a} among its names or settings, "
                "which is no UTF-8 and cannot be sent; give it another name, or pass it as a value"
            )
            raise errors.GraphError(message) from error
        answer: DispatchSummary = self._request("POST", "/dispatches", DispatchSummary, body=body)
        return answer

    def record(
        self,
        dispatch: str,
        *,
        wait: bool = False,
        timeout: float | None = None,
        outputs: Outputs = "result",
        held: bool = False,
    ) -> DispatchRecord:
        """Fetch a dispatch; with `wait`, when it has ended or after `timeout` seconds.

        The wait does not include one that is held, unless `held`: then it will be started. A notice that comes
        meanwhile is printed on standard error: what is waited for may not come by itself.
        """
        chosen = outputs if isinstance(outputs, str) else ",".join(map(str, outputs)) or "none"
        query: dict[str, Any] = {"outputs": chosen}
        if wait:
            query["wait"] = 1
        if timeout is not None:
            query["timeout"] = timeout
        if held:
            query["held"] = 1
        if not wait:
            return self._record(dispatch, query)
        deadline = math.inf if timeout is None else time.monotonic() + timeout
        seen = ""
        while True:
            answer = self._record(dispatch, {**query, "notice": seen}, held=True)
            notice = answer.summary.notice
            if answer.summary.status in TERMINAL or answer.summary.held or notice in ("", seen):
                return answer
            print_notice(f"dispatch {dispatch} {notice}")
            seen = notice
            left = deadline - time.monotonic()
            if left <= 0:
                return answer
            if timeout is not None:
                query["timeout"] = left

    def _record(self, dispatch: str, query: Mapping[str, Any], *, held: bool = False) -> DispatchRecord:
        target = f"{_path(dispatch)}/record?{urlencode(query)}"
        answer: DispatchRecord = self._request("GET", target, DispatchRecord, held=held)
        return answer

    def summary(self, dispatch: str) -> DispatchSummary:
        """Fetch the summary of a dispatch."""
        answer: DispatchSummary = self._request("GET", _path(dispatch), DispatchSummary)
        return answer

    def dispatches(
        self,
        *,
        status: Status | Iterable[Status] | None = None,
        name: str | None = None,
        offset: int = 0,
        count: int = 50,
        root: str | None = None,
        since: float | None = None,
        oldest: bool = False,
        schedule: str | None = None,
        tag: str | None = None,
        prefix: str = "",
    ) -> list[DispatchSummary]:
        """List dispatches, newest (or oldest) first: those that are no child of another, or all below `root`.

        `since` leaves out those that were made before, `schedule` those that are no runs of this series, `tag` those
        without it. With `prefix` they are all, at any depth, whose ids begin so.
        """
        query: dict[str, Any] = {"offset": offset, "count": count}
        if since is not None:
            query["since"] = since
        if oldest:
            query["oldest"] = 1
        if root is not None:
            query["root"] = root
        if schedule is not None:
            query["schedule"] = schedule
        if tag is not None:
            query["tag"] = tag
        if prefix:
            query["prefix"] = prefix
        if status is not None:
            query["status"] = status if isinstance(status, str) else ",".join(status)
        if name is not None:
            query["name"] = name
        answer: list[DispatchSummary] = self._request("GET", f"/dispatches?{urlencode(query)}", list[DispatchSummary])
        return answer

    def graph(self, dispatch: str) -> Graph:
        """Fetch the transport graph."""
        answer: Graph = self._request("GET", f"{_path(dispatch)}/graph", Graph)
        return answer

    def changes(self, dispatch: str, since: int = 0, wait: float = 0.0) -> DispatchChanges:
        """Fetch the nodes that changed after version `since`, waiting up to `wait` seconds for there to be one."""
        query = urlencode({"since": since, "wait": wait})
        target = f"{_path(dispatch)}/changes?{query}"
        answer: DispatchChanges = self._request("GET", target, DispatchChanges, held=wait > 0)
        return answer

    def timeline(self, dispatch: str) -> Timeline:
        """Fetch which worker ran or runs which node, and the runs that were not the last of their node."""
        answer: Timeline = self._request("GET", f"{_path(dispatch)}/timeline", Timeline)
        return answer

    def log(self, dispatch: str, query: LogQuery) -> LogPage:
        """Fetch a page of what the nodes of a dispatch printed and how their states changed, in the order of time."""
        answer: LogPage = self._request(
            "GET", f"{_path(dispatch)}/log?{urlencode(msgspec.to_builtins(query))}", LogPage
        )
        return answer

    def tag(self, dispatch: str, change: TagsRequest) -> DispatchSummary:
        """Add tags to a dispatch and remove some."""
        body = msgspec.msgpack.encode(change)
        answer: DispatchSummary = self._request("POST", f"{_path(dispatch)}/tags", DispatchSummary, body=body)
        return answer

    def node(self, dispatch: str, node: int) -> NodeDetail:
        """Fetch everything known about one node, its value's bytes included."""
        answer: NodeDetail = self._request("GET", f"{_path(dispatch)}/nodes/{int(node)}", NodeDetail)
        return answer

    def outputs(self, dispatch: str, node: int, since: int = 0) -> NodeOutputs:
        """Fetch the outputs of a node that changed after the number of an earlier answer, also while it runs."""
        target = f"{_path(dispatch)}/nodes/{int(node)}/outputs?since={since}"
        answer: NodeOutputs = self._request("GET", target, NodeOutputs)
        return answer

    def preview(self, dispatch: str, node: int, query: PreviewQuery | None = None) -> Preview:
        """Fetch a part of a node's value as a page shows it; it is opened in a process of its own."""
        target = f"{_path(dispatch)}/nodes/{int(node)}/preview"
        if query is not None:
            target += f"?{urlencode(msgspec.to_builtins(query))}"
        answer: Preview = self._request("GET", target, Preview, held=True)
        return answer

    def all_outputs(self, dispatch: str) -> dict[int, NodeOutput]:
        """Fetch the recorded output of all nodes that ended with some."""
        answer: dict[int, NodeOutput] = self._request("GET", f"{_path(dispatch)}/outputs", dict[int, NodeOutput])
        return answer

    def cancel(self, dispatch: str, nodes: Sequence[int] | None = None) -> DispatchSummary:
        """Cancel a dispatch, or some of its nodes. One that has ended stays as it is."""
        body = msgspec.msgpack.encode({"nodes": list(nodes)} if nodes is not None else {})
        answer: DispatchSummary = self._request("POST", f"{_path(dispatch)}/cancel", DispatchSummary, body=body)
        return answer

    def submission(self, dispatch: str) -> Submission:
        """Fetch the submission of a dispatch, which can be submitted again."""
        answer: Submission = self._request("GET", f"{_path(dispatch)}/submission", Submission)
        return answer

    def start_held(self, dispatch: str) -> DispatchSummary:
        """Start a dispatch that was recorded with `hold`; one that was started before goes on as it is."""
        answer: DispatchSummary = self._request("POST", f"{_path(dispatch)}/start", DispatchSummary, body=b"")
        return answer

    def redispatch(
        self,
        dispatch: str,
        new_id: DispatchId,
        *,
        reuse: bool = False,
        strict: bool = False,
        nodes: Sequence[int] = (),
    ) -> DispatchSummary:
        """Run the recorded graph of a dispatch once more, under a new id; `nodes`, and what follows from them, anew."""
        body = msgspec.msgpack.encode(RedispatchRequest(new_id, reuse, strict, list(nodes)))
        answer: DispatchSummary = self._request("POST", f"{_path(dispatch)}/redispatch", DispatchSummary, body=body)
        return answer

    def execution(self, dispatch: str, *, wait: float = 0.0, final: bool = False) -> ExecutionSnapshot:
        """Fetch the execution of a dispatch, after its end, its final result (`final`) or at most `wait` seconds.

        Parameters
        ----------
        dispatch
            Its id.
        wait
            How many seconds the answer may take.
        final
            Whether the final result is enough.
        """
        query = urlencode({"wait": wait, "until": "final" if final else "end"})
        target = f"{_path(dispatch)}/execution?{query}"
        answer: ExecutionSnapshot = self._request("GET", target, ExecutionSnapshot, held=wait > 0)
        return answer

    def stream(self, dispatch: str, since: int = 0, read: int = 0, wait: float = 0.0, *, last: int = 0) -> JournalPage:
        """Fetch the next piece of the stream after number `since`, of which `read` items were read; or its `last`."""
        query = urlencode({"since": since, "read": read, "wait": wait, "last": last})
        target = f"{_path(dispatch)}/journal?{query}"
        answer: JournalPage = self._request("GET", target, JournalPage, held=wait > 0)
        return answer

    def command(self, dispatch: str, command: Command) -> ExecutionSnapshot:
        """Send a command to a running dispatch; return its execution after it."""
        body = msgspec.msgpack.encode(command)
        answer: ExecutionSnapshot = self._request("POST", f"{_path(dispatch)}/journal", ExecutionSnapshot, body=body)
        return answer

    def delete(self, dispatch: str) -> None:
        """Delete a dispatch that has ended, and its values."""
        self._request("DELETE", _path(dispatch), Any)

    def trust(self, dispatch: str | None = None) -> int:
        """Trust a dispatch of another account, with all that belong together with it; None: all of the data folder.

        Return how many were not trusted before.
        """
        target = "/trust" if dispatch is None else f"{_path(dispatch)}/trust"
        answer: Trusted = self._request("POST", target, Trusted, body=b"")
        return answer.count

    def export(self, dispatch: str, path: Path) -> Archived:
        """Write a dispatch that has ended, with all below it, as one new file."""
        body = msgspec.msgpack.encode(ExportRequest(str(path)))
        answer: Archived = self._request("POST", f"{_path(dispatch)}/export", Archived, body=body, held=True)
        return answer

    def bring_in(self, path: Path, *, as_new: bool = False, trusted: bool = False) -> Archived:
        """Record the dispatches of such a file; those that are recorded already stay as they are."""
        body = msgspec.msgpack.encode(ImportRequest(str(path), as_new, trusted))
        answer: Archived = self._request("POST", "/import", Archived, body=body, held=True)
        return answer

    def purge(self, before: float) -> int:
        """Delete all dispatches that ended before a time, and their values; return their number."""
        answer: PurgeResult = self._request("DELETE", f"/dispatches?{urlencode({'ended_before': before})}", PurgeResult)
        return answer.gone

    def due(self, before: float) -> list[DispatchId]:
        """Fetch the ids of the dispatches that `purge` would delete."""
        query = urlencode({"ended_before": before, "dry": 1})
        answer: PurgeResult = self._request("DELETE", f"/dispatches?{query}", PurgeResult)
        return answer.ids

    def events(self, since: int = -1, wait: float = 30.0) -> EventsPage:
        """Fetch the dispatches that changed after event `since` (-1: from now), held open up to `wait` seconds."""
        target = f"/events?{urlencode({'since': since, 'wait': wait})}"
        answer: EventsPage = self._request("GET", target, EventsPage, held=wait > 0)
        return answer

    # -- tasks ---------------------------------------------------------------------------------------------------

    def tasks(self, query: TaskQuery) -> list[TaskRow]:
        """List tasks, newest first: nodes that do work, of all dispatches."""
        given = urlencode(msgspec.to_builtins(query))
        answer: list[TaskRow] = self._request("GET", f"/tasks?{given}", list[TaskRow])
        return answer

    def tasks_summary(self) -> TasksSummary:
        """Count all tasks."""
        answer: TasksSummary = self._request("GET", "/summary", TasksSummary)
        return answer

    # -- triggers ------------------------------------------------------------------------------------------------

    def triggers(self, dispatch: str, wait: float = 0.0) -> list[TriggerState]:
        """Fetch the states of a dispatch's triggers, held open up to `wait` seconds while one is starting."""
        target = f"{_path(dispatch)}/triggers?{urlencode({'wait': wait})}"
        answer: list[TriggerState] = self._request("GET", target, list[TriggerState], held=wait > 0)
        return answer

    def register_triggers(self, dispatch: str, triggers: Sequence[Trigger]) -> list[TriggerState]:
        """Attach triggers to a dispatch; those that are attached already stay as they are."""
        body = msgspec.msgpack.encode(triggers)
        answer: list[TriggerState] = self._request("POST", f"{_path(dispatch)}/triggers", list[TriggerState], body=body)
        return answer

    def stop_triggers(self, dispatch: str, triggers: Sequence[str] | None = None) -> list[TriggerState]:
        """Stop the triggers of a dispatch, or those that are named."""
        body = msgspec.msgpack.encode({"triggers": triggers})
        target = f"{_path(dispatch)}/triggers/stop"
        answer: list[TriggerState] = self._request("POST", target, list[TriggerState], body=body)
        return answer

    def fire(self, trigger: str, firing: Firing) -> DispatchSummary:
        """Start the dispatch of a trigger, or run it once more. A firing that was sent twice has one effect."""
        body = msgspec.msgpack.encode(firing)
        answer: DispatchSummary = self._request(
            "POST", f"/triggers/{quote(trigger, safe='')}/fire", DispatchSummary, body=body
        )
        return answer

    def report_trigger(self, trigger: str, report: TriggerReport) -> None:
        """Report the state of a trigger; for trigger hosts."""
        self._request("POST", f"/triggers/{quote(trigger, safe='')}/state", Any, body=msgspec.msgpack.encode(report))

    def watches(self, host: int, since: int, wait: float) -> TriggerWatches:
        """Fetch the triggers that a host is to watch, held open up to `wait` seconds until they change."""
        query = urlencode({"since": since, "wait": wait})
        target = f"/hosts/{host}/watches?{query}"
        answer: TriggerWatches = self._request("GET", target, TriggerWatches, held=wait > 0)
        return answer

    # -- the dispatcher itself -----------------------------------------------------------------------------------

    def warm(self, environment: Environment) -> None:
        """Start the workers of an environment before they are needed."""
        self._request("POST", "/environments", Any, body=msgspec.msgpack.encode(environment))

    def status(self) -> DispatcherStatus:
        """Fetch the status of the dispatcher."""
        answer: DispatcherStatus = self._request("GET", "/status", DispatcherStatus)
        return answer

    def stop(self, *, ask: bool = True) -> bool:
        """End the dispatcher and its workers; return when it is gone. Unfinished dispatches resume later.

        Parameters
        ----------
        ask
            Whether to send a request first; false for one that is known not to answer.

        Returns
        -------
        bool
            Whether it had to be killed, because it did not answer or did not end.
        """
        address = find(self.data_dir)
        if address is None:
            self.close()
            return False
        try:
            if ask:
                with self.until(time.monotonic() + stopping.ANSWER_SECONDS):
                    self._request("POST", "/stop", Any, body=b"", start=False, check=False)
        except errors.DispatcherSilent:
            ask = False
        except errors.DispatcherUnavailable:
            pass  # it is gone
        self.close()
        return stopping.end_process(self.data_dir, address, has_answered=ask)

    @contextmanager
    def until(self, deadline: float | None) -> Iterator[None]:
        """Let requests of this thread raise `DispatcherSilent` when one is not answered at a time.

        Without it, they wait for a dispatcher that is stopped until it goes on.

        Parameters
        ----------
        deadline
            The time, by the monotonic clock; None: never.
        """
        before = getattr(self._local, "deadline", None)
        self._local.deadline = deadline
        try:
            yield
        finally:
            self._local.deadline = before

    def close(self) -> None:
        """Close the connections of all threads; the next call opens another."""
        for connection in list(self._open):
            connection.close()

    # -- one request ---------------------------------------------------------------------------------------------

    def _request(
        self,
        method: str,
        target: str,
        answer: Any,
        *,
        body: bytes | None = None,
        start: bool | None = None,
        check: bool = True,
        held: bool = False,
    ) -> Any:
        start = self.start if start is None else start
        attempt = 0
        while True:
            began = time.monotonic()
            connection = self._connection(start=start)
            connection.wait = AnswerWait(
                self._liveness,
                connection.path,
                connection.pid,
                f"{method} {target.partition('?')[0]}",
                is_held=held,
                deadline=getattr(self._local, "deadline", None),
            )
            try:
                with place.given if held else nullcontext():
                    status, version, data = connection.exchange(method, target, body, protocol.MSGPACK)
                if status != _GONE or attempt == _ATTEMPTS - 1 or not self._is_overtaken(connection):
                    break
                self._forget()
            except errors.DispatcherSilent:
                raise
            except (ConnectionError, http.client.HTTPException, FileNotFoundError) as error:
                # It went away: killed, stopped, or idle for long. The next round finds or starts another.
                self._forget()
                if held and (time.monotonic() - began > _SERVED_SECONDS or self._is_alive(connection)):
                    attempt = 0  # whoever waits for days may see many end, or have to give way to others
                if attempt == _ATTEMPTS - 1:
                    message = (
                        f"the dispatcher of {self.data_dir} does not answer ({type(error).__name__}: {error}); "
                        "see `covalab logs`, then try again"
                    )
                    raise errors.DispatcherUnavailable(message) from error
                time.sleep(0.05 * max(attempt, held))
            attempt += 1
        if attempt and method == "DELETE" and status == _NOT_FOUND:
            return None  # the first request was carried out, its answer was lost
        if check:
            protocol.check_version(version, f"the dispatcher of {self.data_dir}", _REMEDY)
        if status >= _ERROR:
            raise exception_of(status, data, self.where)
        return msgspec.msgpack.decode(data or b"\xc0", type=answer)

    def _connection(self, *, start: bool) -> UnixConnection:
        if self._pid != os.getpid():  # a forked child must not use its parent's connection
            self._local = threading.local()
            self._liveness = Liveness()  # another thread may have had its lock
            self._pid = os.getpid()
        connection: UnixConnection | None = getattr(self._local, "connection", None)
        if connection is None:
            address = find(self.data_dir) or (start_dispatcher(self.data_dir) if start else None)
            if address is None:
                message = f"no dispatcher is running for {self.data_dir}; `covalab start` starts one"
                raise errors.DispatcherUnavailable(message)
            connection = self._local.connection = UnixConnection(address.socket, address.pid)
            self._open.add(connection)
        return connection

    def _is_alive(self, connection: UnixConnection) -> bool:
        """Return whether the dispatcher that ended a connection serves the folder still."""
        address = find(self.data_dir)
        return address is not None and address.pid == connection.pid

    def _is_overtaken(self, connection: UnixConnection) -> bool:
        """Return whether another dispatcher serves the folder by now."""
        address = find(self.data_dir)
        return address is not None and address.pid != connection.pid

    def _forget(self) -> None:
        connection: UnixConnection | None = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None


def _path(dispatch: str) -> str:
    if dispatch == "":  # a variable of a shell that is not set; without the id it would be another route
        raise errors.MissingLatticeRecordError(dispatch)
    return f"/dispatches/{quote(str(dispatch), safe='')}"


def exception_of(status: int, data: bytes, store: str) -> Exception:
    """Return the error that an answer of the dispatcher stands for."""
    try:
        problem = msgspec.msgpack.decode(data, type=Problem)
    except msgspec.MsgspecError:
        return errors.DispatcherError(f"the dispatcher answered {status}: {data[:500].decode(errors='replace')}")
    if problem.kind == "MissingLatticeRecordError":
        return errors.MissingLatticeRecordError(problem.subject, store)
    if status == _GONE:
        return errors.TakenOver(problem.message)
    return errors.error_of(problem.kind, problem.message)
