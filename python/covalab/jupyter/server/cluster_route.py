"""Route that restarts the workers, with another number of them if one is given."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Annotated

import msgspec
from jupyter_server.auth.decorator import authorized
from tornado import web

from covalab import config
from covalab.core.errors import CovalabError
from covalab.jupyter.server.base_route import Route


class ClusterBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `POST cluster`. `workers`: the number that local clusters have from now on; None: as before."""

    workers: Annotated[int, msgspec.Meta(ge=1, le=1000)] | None = None


class ClusterRoute(Route):
    """The dispatcher with its pools of workers."""

    @web.authenticated
    @authorized
    async def post(self, *_: str) -> None:
        """Stop dispatcher and workers, start them again, and answer with the `DispatcherStatus`.

        What has ended is kept; tasks that run begin anew.
        """
        body: ClusterBody = self.json_body(ClusterBody, '{"workers": 4}')
        try:
            await self.relay.find()  # without a dispatcher the number is not changed either
            if body.workers is not None:
                await asyncio.to_thread(config.change, {"dask.num_workers": body.workers})
            await self.relay.restart()
        except CovalabError as error:
            self.problem(HTTPStatus.SERVICE_UNAVAILABLE, type(error).__name__, str(error))
            return
        await self.send("GET", "/status")
