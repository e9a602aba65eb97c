"""Requests that schemathesis makes of our own OpenAPI page: those that it allows, and those that it does not."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import hypothesis
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis import GenerationMode

PAGE = Path(__file__).parents[1] / "python" / "docs" / "openapi.json"
LONGEST_WAIT = 0.2
"""Seconds: a request that may be held open is not."""


class Request(NamedTuple):
    """A request, with the operation that it is one of."""

    label: str
    method: str
    target: str
    body: bytes | None


def requests(tag: str, n: int, seed: int, ids: Sequence[str], without: Sequence[str] = ()) -> Iterator[Request]:
    """Yield `n` requests of each operation with a tag, and `n` that break its rules; half of them about `ids`."""
    chance = random.Random(seed)
    document = json.loads(PAGE.read_text())
    schema: Any = schemathesis.openapi.from_dict(document)
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            label = f"{method.upper()} {path}"
            if tag not in operation["tags"] or label in without:
                continue
            modes: tuple[Any, ...] = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
            for mode in modes:
                for case in _cases(schema[path][method.upper()], mode, n, chance.randrange(10**6)):
                    yield _request(label, case, ids, chance)


def _cases(operation: Any, mode: GenerationMode, n: int, seed: int) -> list[Any]:
    found: list[Any] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=n,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=[*HealthCheck],
    )
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def collect(case: Any) -> None:
        found.append(case)

    # Where nothing about a request can be wrong, there is none.
    with suppress(hypothesis.errors.Unsatisfiable, hypothesis.errors.InvalidArgument):
        collect()
    return found


def _request(label: str, case: Any, ids: Sequence[str], chance: random.Random) -> Request:
    path = case.path
    for name, value in (case.path_parameters or {}).items():
        chosen = value
        if chance.random() < 0.5:
            chosen = chance.choice(ids) if name == "id" else chance.randrange(4)
        path = path.replace(f"{{{name}}}", quote(str(chosen), safe="") or "x")
    query = {str(name): _cut(str(name), value) for name, value in (case.query or {}).items()}
    if "wait" in query and path.endswith("/record"):
        query.setdefault("timeout", LONGEST_WAIT)  # a dispatch that is held has no end: that wait would have none
    body = case.body
    if type(body).__name__ == "NotSet":
        data = None
    elif isinstance(body, bytes):
        data = body
    else:
        data = json.dumps(body, default=repr).encode()
    text = urlencode(query, doseq=True, errors="replace", encoding="utf-8")
    return Request(label, case.method.upper(), path + (f"?{text}" if text else ""), data)


def _cut(name: str, value: Any) -> Any:
    if name in ("wait", "timeout"):
        return LONGEST_WAIT if isinstance(value, int | float) else value
    return value
