"""Handlers of archives, and of consent to open what comes from elsewhere."""

from __future__ import annotations

from pathlib import Path

from covalab.core.model import DispatchId
from covalab.core.requests import ExportRequest, ImportRequest, Trusted
from covalab.dispatcher.http_api.handler import BadRequest, Handler


class TrustHandler(Handler):
    """`POST /dispatches/{id}/trust`."""

    async def post(self, dispatch: str) -> None:
        """Trust a dispatch, with all that belong together with it; those that had not ended go on."""
        self.answer(Trusted(await self.service.trust(DispatchId(dispatch))), 202)


class TrustAllHandler(Handler):
    """`POST /trust`."""

    async def post(self) -> None:
        """Trust all dispatches of the data folder; those that had not ended go on."""
        self.answer(Trusted(await self.service.trust(None)), 202)


class ExportHandler(Handler):
    """`POST /dispatches/{id}/export`."""

    async def post(self, dispatch: str) -> None:
        """Write a dispatch with all below it as one file."""
        path = _full_path(self.body(ExportRequest).path)
        self.answer(await self.service.archives.export(DispatchId(dispatch), path), 201)


class ImportHandler(Handler):
    """`POST /import`."""

    async def post(self) -> None:
        """Record the dispatches of an archive."""
        asked = self.body(ImportRequest)
        path = _full_path(asked.path)
        self.answer(await self.service.archives.bring_in(path, as_new=asked.as_new, is_trusted=asked.trusted), 201)


def _full_path(text: str) -> Path:
    if not text.startswith("/") or "\0" in text:
        message = f"{text[:200]!a} is not the full path of a file"
        raise BadRequest(message)
    return Path(text)
