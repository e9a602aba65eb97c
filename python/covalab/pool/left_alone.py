"""Schedulers that are left alone: one that our cluster class started on another host ends when no client is there.

A pool that is killed closes nothing, and an SSH server does not end what it has started when the connection is cut: the
scheduler there, and with it its workers, would go on for ever.
"""

from __future__ import annotations

from typing import Any, Final

from distributed import Client, Scheduler
from distributed.diagnostics.plugin import SchedulerPlugin

LEFT_SECONDS: Final = 30.0
"""The time that a client may take to come back after its connection was cut."""


async def end_when_left(client: Client, cluster: Any) -> None:
    """Let the scheduler of a cluster end, and its workers with it, when its last client has been gone for a while.

    One in this process ends with it anyway.
    """
    if isinstance(getattr(cluster, "scheduler", None), Scheduler):
        return
    seconds = LEFT_SECONDS

    class EndWhenLeft(SchedulerPlugin):
        """Plugin that travels by value: its host need not have this package."""

        name = "covalab-end-when-left"

        def remove_client(self, scheduler: Any, client: str) -> None:
            """Look again in a while."""

            async def end() -> None:
                if not any(not name.startswith("fire-and-forget") for name in scheduler.clients):
                    await scheduler.close(reason="covalab's pool is gone")

            scheduler.loop.call_later(seconds, lambda: scheduler.loop.add_callback(end))

    await client.register_plugin(EndWhenLeft())
