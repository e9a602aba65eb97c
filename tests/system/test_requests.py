"""How often a dispatch talks to the dispatcher."""

from __future__ import annotations

import pytest
from tests.system.tasks import adding

import covalab as ct
from covalab.client import Client
from covalab.client.connection import UnixConnection


@pytest.fixture
def requests(live: Client, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Write down every request this process sends, once there is a worker: that there is none is one answer more."""
    ct.dispatch_sync(ct.lattice(adding))(1)
    sent: list[str] = []
    ask = UnixConnection.exchange

    def counted(self: UnixConnection, method: str, target: str, body: bytes | None, accept: str) -> object:
        sent.append(f"{method} {target.partition('?')[0]}")
        return ask(self, method, target, body, accept)

    monkeypatch.setattr(UnixConnection, "exchange", counted)
    return sent


def test_a_dispatch_and_its_result_are_two_requests(live: Client, requests: list[str]) -> None:
    """One to send a hundred nodes, one held open until the value is there."""

    @ct.lattice
    def flow(n: int) -> object:
        return [adding(adding(x)) for x in range(n)]

    dispatch = ct.dispatch(flow)(50)
    result = ct.get_result(dispatch, wait=True)

    assert result.result == [x + 2 for x in range(50)]
    assert requests == ["POST /dispatches", f"GET /dispatches/{dispatch}/record"]


def test_waiting_asks_once(live: Client, requests: list[str]) -> None:
    """Nobody polls: however long a task takes, waiting is one request."""

    @ct.electron
    def slow() -> str:
        import time

        time.sleep(2.5)
        return "done"

    assert ct.dispatch_sync(ct.lattice(slow))().result == "done"
    assert len(requests) == 2
