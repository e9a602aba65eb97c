"""A real Jupyter server with our extension, for the tests of this folder only.

pytest-jupyter's fixtures are imported here instead of being a plug-in: some of them are used by every test that can see
them, and no test outside this folder wants a server.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_jupyter.jupyter_server import *  # noqa: F403 - fixtures and the hooks that run coroutine tests
from tests.jupyter.server.helpers import Send
from tornado.httpclient import HTTPResponse
from tornado.routing import PathMatches, Router
from traitlets.config import Config


@pytest.fixture
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder of this test's own, in which no dispatcher runs."""
    folder = tmp_path / "covalab"
    monkeypatch.setenv("COVALAB_DATA_DIR", str(folder))
    return folder


@pytest.fixture
def server_options(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Settings of `ServerApp` for a test, by indirect parameters."""
    return getattr(request, "param", {})


@pytest.fixture  # type: ignore[no-redef] # takes the place of the imported one
def jp_server_config(data_folder: Path, server_options: dict[str, Any]) -> Config:
    """The extension is on and starts no dispatcher."""
    return Config(
        {
            "ServerApp": {"jpserver_extensions": {"covalab": True}, **server_options},
            "CovalabApp": {"autostart": False},
        }
    )


@pytest.fixture
def send(http_server_client: Any) -> Send:
    """Send a request with exactly the given headers, and return the answer whatever its code."""

    async def send(
        path: str, method: str = "GET", headers: dict[str, str] | None = None, body: str | bytes = ""
    ) -> HTTPResponse:
        response: HTTPResponse = await http_server_client.fetch(
            path,
            method=method,
            headers=headers or {},
            body=body if method in ("POST", "PUT", "PATCH") else None,
            allow_nonstandard_methods=True,
            raise_error=False,
            follow_redirects=False,
        )
        return response

    return send


@pytest.fixture
def route_paths(jp_serverapp: Any) -> list[str]:
    """One path for every route of ours that the running server has, taken from its router."""
    paths = [
        pattern.removesuffix("$").replace("([^/]+)", "7")
        for pattern in _patterns(jp_serverapp.web_app.default_router)
        if "/covalab/" in pattern
    ]
    assert paths
    assert not any(re.search(r"[()\[\]]", path) for path in paths)
    return paths


def _patterns(router: Any) -> Iterator[str]:
    for rule in router.rules:
        if isinstance(rule.target, Router):
            yield from _patterns(rule.target)
        elif isinstance(rule.matcher, PathMatches):
            yield rule.matcher.regex.pattern
