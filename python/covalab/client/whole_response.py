"""Responses that are whole: http.client takes the end of a connection within the headers for the end of the headers."""

from __future__ import annotations

import http.client
from typing import Any


class _Lines:
    """A reader of which each line has an end."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader
        self._is_first = True

    def readline(self, limit: int = -1) -> bytes:
        """Read a line; an empty one in the place of the first says that nothing came, which http.client knows."""
        line: bytes = self._reader.readline(limit)
        if not line.endswith(b"\n") and len(line) != limit and (line or not self._is_first):
            raise http.client.IncompleteRead(line)
        self._is_first = False
        return line

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)


class WholeResponse(http.client.HTTPResponse):
    """Response that raises `IncompleteRead` if the connection ends before the headers do.

    Of an answer that was cut there, length and version would be missing: it would be an empty one of a stranger.
    """

    def begin(self) -> None:
        """Read status and headers."""
        reader = self.fp
        self.fp = _Lines(reader)  # type: ignore[assignment]
        try:
            super().begin()
        finally:
            if self.fp is not None:  # it closes itself where there is no body
                self.fp = reader
