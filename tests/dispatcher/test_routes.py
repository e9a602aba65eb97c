"""Table of routes in python/docs/http.md, for writers of clients."""

from __future__ import annotations

import re
from pathlib import Path

from tornado import web

from covalab.dispatcher.http_api.routes import ROUTES

PAGE = Path(__file__).parents[2] / "python" / "docs" / "http.md"
METHODS = ("GET", "HEAD", "POST", "DELETE", "PATCH", "PUT", "OPTIONS")


def written(pattern: str) -> str:
    """Return the path of a route as a page writes it."""
    return re.sub(r"\(\[0-9\][^)]*\)", "{n}", pattern.replace("([^/]+)", "{id}"))


def test_the_table_of_routes_is_what_is_answered() -> None:
    """One row for each method of each path, no more and no fewer."""
    answered = sorted(
        (written(pattern), method)
        for pattern, handler in ROUTES
        for method in METHODS
        if getattr(handler, method.lower()) is not getattr(web.RequestHandler, method.lower())
    )
    table = PAGE.read_text().split("\n# ")[0]
    rows = re.findall(r"^\| `([A-Z]+) ([^?` ]+)", table, re.MULTILINE)

    assert sorted((path, method) for method, path in rows) == answered
    assert len(rows) == table.count("\n| ") - 1, "a row that does not begin with a method and a path"
    assert all("(" not in path for path, _ in answered), "a pattern that `written` does not know"
