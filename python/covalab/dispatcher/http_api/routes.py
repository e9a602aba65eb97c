"""Routes of the dispatcher: which path has which handler."""

from __future__ import annotations

import asyncio
import logging

from tornado import web
from tornado.httputil import HTTPServerRequest

from covalab.dispatcher.http_api import archives, dispatches, executions, process, tasks, triggers
from covalab.dispatcher.http_api.handler import Handler
from covalab.dispatcher.service import Service

_log = logging.getLogger("covalab.http")
_DISPATCH = r"/dispatches/([^/]+)"

ROUTES: list[tuple[str, type[Handler]]] = [
    (r"/status", process.StatusHandler),
    (r"/stop", process.StopHandler),
    (r"/environments", process.EnvironmentsHandler),
    (r"/events", process.EventsHandler),
    (r"/tasks", tasks.TasksHandler),
    (r"/summary", tasks.SummaryHandler),
    (r"/dispatches", dispatches.DispatchesHandler),
    (r"/list", dispatches.ListHandler),
    (_DISPATCH, dispatches.DispatchHandler),
    (rf"{_DISPATCH}/again", dispatches.AgainHandler),
    (rf"{_DISPATCH}/record", dispatches.RecordHandler),
    (rf"{_DISPATCH}/graph", dispatches.GraphHandler),
    (rf"{_DISPATCH}/changes", dispatches.ChangesHandler),
    (rf"{_DISPATCH}/timeline", dispatches.TimelineHandler),
    (rf"{_DISPATCH}/log", dispatches.LogHandler),
    (rf"{_DISPATCH}/tags", dispatches.TagsHandler),
    (rf"{_DISPATCH}/cancel", dispatches.CancelHandler),
    (rf"{_DISPATCH}/submission", dispatches.SubmissionHandler),
    (rf"{_DISPATCH}/provenance", dispatches.ProvenanceHandler),
    (rf"{_DISPATCH}/comparison", dispatches.ComparisonHandler),
    (rf"{_DISPATCH}/notebook", dispatches.NotebookHandler),
    (rf"{_DISPATCH}/start", dispatches.StartHandler),
    (rf"{_DISPATCH}/redispatch", dispatches.RedispatchHandler),
    (rf"{_DISPATCH}/trust", archives.TrustHandler),
    (rf"{_DISPATCH}/export", archives.ExportHandler),
    (r"/trust", archives.TrustAllHandler),
    (r"/import", archives.ImportHandler),
    (rf"{_DISPATCH}/nodes/([0-9]{{1,9}})", dispatches.NodeHandler),
    (rf"{_DISPATCH}/nodes/([0-9]{{1,9}})/outputs", dispatches.NodeOutputsHandler),
    (rf"{_DISPATCH}/nodes/([0-9]{{1,9}})/preview", dispatches.PreviewHandler),
    (rf"{_DISPATCH}/outputs", dispatches.OutputsHandler),
    (rf"{_DISPATCH}/execution", executions.ExecutionHandler),
    (rf"{_DISPATCH}/journal", executions.JournalHandler),
    (rf"{_DISPATCH}/triggers", triggers.TriggersHandler),
    (rf"{_DISPATCH}/triggers/stop", triggers.StopTriggersHandler),
    (r"/triggers/([^/]+)/fire", triggers.FireHandler),
    (r"/triggers/([^/]+)/state", triggers.TriggerReportHandler),
    (r"/hosts/([0-9]{1,15})/watches", triggers.WatchesHandler),
]
"""All that is answered; python/ARCHITECTURE.md has the same table, with queries, bodies and answers."""


def application(service: Service, stop: asyncio.Event) -> web.Application:
    """Return the application that serves a dispatcher; `POST /stop` sets `stop`."""
    arguments = {"service": service, "stop": stop}
    routes = [(path, handler, arguments) for path, handler in [*ROUTES, (r".*", process.NotFoundHandler)]]
    return web.Application(routes, log_function=_log_request)


def _log_request(handler: web.RequestHandler) -> None:
    request: HTTPServerRequest = handler.request
    if handler.get_status() >= 500:
        _log.warning("%s %s: %d", request.method, request.path, handler.get_status())
