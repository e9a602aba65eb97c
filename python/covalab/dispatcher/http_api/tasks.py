"""Handlers of the tasks of all dispatches."""

from __future__ import annotations

from covalab.core.model import TaskQuery
from covalab.dispatcher import task_views
from covalab.dispatcher.http_api.handler import Handler


class TasksHandler(Handler):
    """`GET /tasks`."""

    async def get(self) -> None:
        """List the tasks of all dispatches, or those that are asked for, newest first."""
        self.answer(await task_views.listed(self.service, self.query(TaskQuery)))


class SummaryHandler(Handler):
    """`GET /summary`."""

    async def get(self) -> None:
        """Count the tasks of all dispatches."""
        self.answer(await task_views.summary(self.service))
