"""Write openapi.json from the structs: every route of the dispatcher, and those that the Jupyter server relays or adds.

Run `uv run python python/docs/generate_openapi.py`; a test compares the file, and the routes, with what is answered.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from covalab.client.client import EventsPage
from covalab.core.browser_views import ExecutionView, StreamPage
from covalab.core.comparison import DifferenceView
from covalab.core.dispatch_list import DispatchPage, ListQuery
from covalab.core.dispatch_provenance import DispatchProvenance
from covalab.core.dispatcher_status import DispatcherStatus
from covalab.core.journal import Command, ExecutionSnapshot, JournalPage
from covalab.core.model import (
    DispatchChanges,
    DispatchRecord,
    DispatchSummary,
    Environment,
    Graph,
    NodeDetail,
    NodeOutput,
    Problem,
    Submission,
    TaskQuery,
    TaskRow,
    TasksSummary,
    Trigger,
)
from covalab.core.notebook_run import NotebookView
from covalab.core.outputs import Outputs
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
from covalab.dispatcher.http_api.dispatches import CancelRequest
from covalab.dispatcher.http_api.triggers import StopRequest

PAGE: Final = Path(__file__).with_name("openapi.json")
_D: Final = "/dispatches/{id}"
_N: Final = f"{_D}/nodes/{{n}}"
_NUMBER: Final = {"type": "number", "minimum": 0, "maximum": 1e15}
_WAIT: Final = {"type": "number", "minimum": 0, "maximum": 86_400}
_TEXT: Final = {"type": "string"}
_FLAG: Final = {"type": "string", "enum": ["1"]}
_OUTPUTS: Final = {"type": "string", "pattern": "^(result|all|none|[0-9]{1,9}(,[0-9]{1,9})*)$"}
_COUNT: Final = {"type": "integer", "minimum": 0, "maximum": 10_000}
_STATUS: Final = {"type": "string", "enum": ["pending", "running", "completed", "failed", "cancelled"]}


class Operation(NamedTuple):
    """A method of a path: query, body, answer, and whether the dispatcher or the Jupyter server answers it."""

    method: str
    path: str
    answer: Any
    query: Any = None
    body: Any = None
    where: str = "dispatcher"
    status: int = 200


_BOTH: Final = "both"
OPERATIONS: Final = (
    Operation("GET", "/status", DispatcherStatus, where=_BOTH),
    Operation("POST", "/stop", None, status=202),
    Operation("POST", "/environments", None, body=Environment, status=202),
    Operation("GET", "/events", EventsPage, {"since": _NUMBER, "wait": _WAIT}),
    Operation("GET", "/tasks", list[TaskRow], TaskQuery, where=_BOTH),
    Operation("GET", "/summary", TasksSummary, where=_BOTH),
    Operation("POST", "/dispatches", DispatchSummary, body=Submission, status=201),
    Operation(
        "GET",
        "/dispatches",
        list[DispatchSummary],
        {
            "status": _STATUS, "name": _TEXT, "offset": _COUNT, "count": _COUNT, "root": _TEXT, "since": _NUMBER,
            "oldest": _FLAG, "schedule": _TEXT, "prefix": _TEXT,
        },
        where=_BOTH,
    ),
    Operation("DELETE", "/dispatches", PurgeResult, {"ended_before": _NUMBER, "dry": _FLAG}),
    Operation("GET", "/list", DispatchPage, ListQuery, where=_BOTH),
    Operation("GET", f"{_D}/again", DispatchSummary | None, where=_BOTH),
    Operation("GET", _D, DispatchSummary, where=_BOTH),
    Operation("DELETE", _D, None, where=_BOTH, status=204),
    Operation(
        "GET", f"{_D}/record", DispatchRecord,
        {"wait": _FLAG, "timeout": _WAIT, "outputs": _OUTPUTS, "notice": _TEXT, "held": _FLAG},
    ),
    Operation("GET", f"{_D}/graph", Graph, where=_BOTH),
    Operation("GET", f"{_D}/changes", DispatchChanges, {"since": _NUMBER, "wait": _WAIT}, where=_BOTH),
    Operation("GET", f"{_D}/timeline", Timeline, where=_BOTH),
    Operation("GET", f"{_D}/log", LogPage, LogQuery, where=_BOTH),
    Operation("POST", f"{_D}/tags", DispatchSummary, body=TagsRequest, where=_BOTH),
    Operation("GET", f"{_D}/provenance", DispatchProvenance, where=_BOTH),
    Operation("GET", f"{_D}/comparison", DifferenceView, {"other": _TEXT}, where=_BOTH),
    Operation("GET", _N, NodeDetail, where=_BOTH),
    Operation("GET", f"{_N}/outputs", Outputs, {"since": _NUMBER}, where=_BOTH),
    Operation("GET", f"{_N}/preview", Preview, PreviewQuery, where=_BOTH),
    Operation("GET", f"{_N}/cell", dict[str, Any], where="jupyter"),
    Operation("GET", f"{_D}/bundle", dict[str, Any], where="jupyter"),
    Operation("GET", f"{_D}/outputs", dict[int, NodeOutput]),
    Operation("POST", f"{_D}/cancel", DispatchSummary, body=CancelRequest, where=_BOTH, status=202),
    Operation("GET", f"{_D}/submission", Submission),
    Operation("GET", f"{_D}/notebook", NotebookView, where=_BOTH),
    Operation("GET", f"{_D}/notebook/executed", dict[str, Any], where="jupyter"),
    Operation("POST", "/notebooks", dict[str, Any], body=dict[str, Any], where="jupyter", status=201),
    Operation("POST", f"{_D}/redispatch", DispatchSummary, body=RedispatchRequest, where=_BOTH, status=201),
    Operation("POST", f"{_D}/trust", Trusted, status=202),
    Operation("POST", "/trust", Trusted, status=202),
    Operation("POST", f"{_D}/export", Archived, body=ExportRequest, status=201),
    Operation("POST", "/import", Archived, body=ImportRequest, status=201),
    Operation("POST", f"{_D}/start", DispatchSummary, where=_BOTH, status=202),
    Operation(
        "GET", f"{_D}/execution", ExecutionView | ExecutionSnapshot, {"wait": _WAIT, "until": _TEXT}, where=_BOTH,
    ),
    Operation(
        "GET", f"{_D}/journal", StreamPage | JournalPage,
        {"since": _NUMBER, "read": _NUMBER, "wait": _WAIT, "last": _COUNT}, where=_BOTH,
    ),
    Operation("POST", f"{_D}/journal", ExecutionView | ExecutionSnapshot, body=Command, where=_BOTH),
    Operation("GET", f"{_D}/triggers", list[TriggerState], {"wait": _WAIT}),
    Operation("POST", f"{_D}/triggers", list[TriggerState], body=list[Trigger], status=201),
    Operation("POST", f"{_D}/triggers/stop", list[TriggerState], body=StopRequest, status=202),
    Operation("POST", "/triggers/{id}/fire", DispatchSummary, body=Firing, status=202),
    Operation("POST", "/triggers/{id}/state", dict[str, bool], body=TriggerReport, status=202),
    Operation("GET", "/hosts/{n}/watches", TriggerWatches, {"since": _NUMBER, "wait": _WAIT}),
)  # fmt: skip


def document() -> dict[str, Any]:
    """Return the OpenAPI document."""
    types: list[Any] = []
    for one in OPERATIONS:
        types += [it for it in (one.answer, one.body) if it is not None and not _is_union(it)]
        types += _members(one.answer) if _is_union(one.answer) else []
    types.append(Problem)
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    known = {str(type_): schema for type_, schema in zip(types, schemas, strict=True)}
    paths: dict[str, Any] = {}
    for one in OPERATIONS:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one, known)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "covalab",
            "version": "1",
            "description": "Tag dispatcher: on the private Unix socket. Tag jupyter: below <base_url>/covalab/api.",
        },
        "paths": paths,
        "components": {"schemas": components},
    }


def _is_union(type_: Any) -> bool:
    return type(type_).__name__ == "UnionType"


def _members(type_: Any) -> list[Any]:
    return [it for it in type_.__args__ if it is not type(None)]


def _schema(type_: Any, known: dict[str, Any]) -> Any:
    if not _is_union(type_):
        return known[str(type_)]
    nothing = [{"type": "null"}] if type(None) in type_.__args__ else []
    return {"anyOf": [*(known[str(it)] for it in _members(type_)), *nothing]}


def _operation(one: Operation, known: dict[str, Any]) -> dict[str, Any]:
    names = re.findall(r"\{(\w+)\}", one.path)
    parameters: list[dict[str, Any]] = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "integer", "minimum": 0, "maximum": 10**9 - 1}
            if name == "n"
            else {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
        }
        for name in names
    ]
    query = one.query or {}
    if not isinstance(query, dict):
        (_,), parts = msgspec.json.schema_components([query])
        query = parts[one.query.__name__]["properties"]
    parameters += [{"name": name, "in": "query", "schema": schema} for name, schema in query.items()]
    content = {} if one.answer is None else {"application/json": {"schema": _schema(one.answer, known)}}
    problem = {"application/json": {"schema": known[str(Problem)]}}
    found: dict[str, Any] = {
        "tags": ["dispatcher", "jupyter"] if one.where == _BOTH else [one.where],
        "parameters": parameters,
        "responses": {
            str(one.status): {"description": "done", **({"content": content} if content else {})},
            "4XX": {"description": "refused", "content": problem},
        },
    }
    if one.body is not None:
        found["requestBody"] = {"content": {"application/json": {"schema": known[str(one.body)]}}}
    return found


if __name__ == "__main__":
    PAGE.write_text(json.dumps(document(), indent=1, sort_keys=True) + "\n")
