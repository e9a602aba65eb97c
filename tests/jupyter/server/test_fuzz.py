"""Every route of a real Jupyter server, asked with all that our OpenAPI page allows and with what it does not."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests import fuzz
from tests.jupyter.server.helpers import Send, dispatch, successor

import covalab as ct
from covalab.client import Client, connect


@pytest.fixture
def client(data_folder: Path) -> Iterator[Client]:
    """Have a dispatcher in the data folder of the server."""
    client = connect(data_dir=data_folder)
    yield client
    client.stop()


@pytest.mark.parametrize(
    "n",
    [2, pytest.param(100, marks=[pytest.mark.nightly, pytest.mark.timeout(3600)])],
)
async def test_no_request_is_the_servers_fault(
    send: Send, client: Client, jp_auth_header: dict[str, str], jp_base_url: str, n: int
) -> None:
    """Answered, or refused with a reason; no traceback reaches the page, and what is recorded stays."""
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    runs = {number: dispatch(successor, number) for number in range(2)}
    for run in runs.values():
        client.record(run, wait=True, timeout=120)
    statuses: Counter[tuple[str, int]] = Counter()
    without = ("DELETE /dispatches/{id}",)
    headers: dict[str, Any] = {**jp_auth_header, "Content-Type": "application/json"}
    for request in fuzz.requests("jupyter", n, seed, [*runs.values()], without):
        target = f"{jp_base_url}covalab/api{request.target}"
        answer = await send(target, request.method, headers, (request.body or b"").decode("utf-8", "replace"))
        statuses[request.label, answer.code] += 1
        assert answer.code < 500, (request, answer.body)
        assert b"Traceback" not in answer.body, request
    reached = {label for label, status in statuses if status < 400}
    assert len(reached) > len({label for label, _ in statuses}) / 2, statuses
    for number, run in runs.items():
        assert ct.get_result(run).result == [number + 1]
