"""Jupyter server extension: routes, and events about every dispatch that changes. Has no state.

The server starts as quickly as without it: the dispatcher is found or started in the background, and with it the
workers of the default kernel's environment. If the dispatcher cannot start, the log has a warning and requests get the
error as their answer.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec
from jupyter_events import EventLogger
from jupyter_server.extension.application import ExtensionApp
from jupyter_server.serverapp import ServerApp
from traitlets import Bool, Unicode

from covalab._version import __version__
from covalab.client import data_dir
from covalab.core.model import DispatchSummary
from covalab.jupyter.server.blob_routes import blob_routes
from covalab.jupyter.server.event_bridge import EventBridge
from covalab.jupyter.server.kernel_routes import kernel_routes
from covalab.jupyter.server.prewarm import kernel_environment
from covalab.jupyter.server.relay import Relay
from covalab.jupyter.server.routes import routes
from covalab.jupyter.server.task_environments import TaskEnvironments

EVENTS: Final = "https://events.covalab.dev/dispatches/v1"
"""The schema id of the events; the data is ``{"dispatches": [DispatchSummary, ...]}``."""

SCHEMA_FILE: Final = Path(__file__).parent / "event_schemas" / "dispatches" / "v1.yaml"


class CovalabApp(ExtensionApp):
    """Notebook cells as background tasks: electrons, lattices, a live transport graph, results that stay."""

    name = "covalab"
    version = __version__
    description = __doc__
    load_other_extensions = True

    data_folder = Unicode(
        "",
        help=(
            "Folder for dispatches and their results; kernels of this server use the same. "
            "Default: COVALAB_DATA_DIR, else `covalab` in the Jupyter data directory."
        ),
    ).tag(config=True)
    autostart = Bool(
        True,
        help=(
            "Whether the server starts a dispatcher, when the server starts and when the dispatcher has died. "
            "If not, the first dispatch of a kernel or `covalab start` does."
        ),
    ).tag(config=True)

    warm_up = Bool(
        True,
        help=(
            "Whether the workers of the default kernel's environment are started together with the dispatcher, so that "
            "the first dispatch need not wait for them. If not, `%load_ext covalab` in a kernel starts them."
        ),
    ).tag(config=True)

    _bridge: EventBridge | None = None
    _following: asyncio.Task[None] | None = None

    def initialize_settings(self) -> None:
        """Register the events, and set the data folder."""
        if self.data_folder:
            # The kernels inherit this environment, and with it the folder.
            os.environ["COVALAB_DATA_DIR"] = self.data_folder
        self._events.register_event_schema(SCHEMA_FILE)

    def initialize_handlers(self) -> None:
        """Add the routes."""
        self._relay = Relay(data_dir(), start=self.autostart)
        self.handlers.extend(routes(self._relay))
        assert self.serverapp is not None
        environments = TaskEnvironments(
            self.serverapp.kernel_spec_manager,
            self.serverapp.kernel_manager.default_kernel_name,
            self.serverapp.root_dir,
        )
        self.handlers.extend([*kernel_routes(self._relay, environments), *blob_routes(self._relay)])

    async def _start_jupyter_server_extension(self, serverapp: ServerApp) -> None:
        """Start to follow the dispatcher, in a task of the server's event loop."""
        self._bridge = EventBridge(self._relay, self._publish, self.log, self._warm_up)
        self._following = asyncio.create_task(self._bridge.run(), name="covalab-event-bridge")

    async def stop_extension(self) -> None:
        """Stop following. The dispatcher runs on while it has work, then ends by itself."""
        if self._following is not None:
            self._following.cancel()
            with suppress(asyncio.CancelledError):
                await self._following
            self._following = None
        self._relay.close()

    def current_activity(self) -> int | None:
        """Return the number of unfinished dispatches: a server with any is not shut down for lack of activity."""
        return self._bridge.active if self._bridge is not None else None

    async def _warm_up(self) -> None:
        """Start the workers of the default kernel, unless `warm_up` or `autostart` is off."""
        assert self.serverapp is not None
        assert self.serverapp.kernel_spec_manager is not None
        if not (self.warm_up and self.autostart):
            return
        try:
            name: str = self.serverapp.kernel_manager.default_kernel_name
            spec: Any = await asyncio.to_thread(self.serverapp.kernel_spec_manager.get_kernel_spec, name)
            environment = await kernel_environment(spec.argv, spec.env, self.serverapp.root_dir)
            if environment is not None:
                await self._relay.ask("POST", "/environments", body=environment)
        except Exception as error:  # noqa: BLE001 - only a warm-up: the first dispatch starts them, and raises the error
            self.log.warning("covalab: cannot warm up the workers of the default kernel: %s", error)

    def _publish(self, changed: Sequence[DispatchSummary]) -> None:
        data: dict[str, Any] = {"dispatches": msgspec.to_builtins(changed)}
        self._events.emit(schema_id=EVENTS, data=data)

    @property
    def _events(self) -> EventLogger:
        logger: EventLogger = self.settings["event_logger"]
        return logger


main = CovalabApp.launch_instance
