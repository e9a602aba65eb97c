"""Two processes with a namespace each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.namespace.peer import Peer


@pytest.fixture(scope="session")
def peers() -> Iterator[tuple[Peer, Peer]]:
    """Two processes, for all tests."""
    both = Peer(), Peer()
    yield both
    for peer in both:
        peer.stop()


@pytest.fixture
def kernel(peers: tuple[Peer, Peer]) -> Peer:
    """The process of the notebook, with no names."""
    peers[0]("reset")
    return peers[0]


@pytest.fixture
def task(peers: tuple[Peer, Peer]) -> Peer:
    """The process of a task, with no names."""
    peers[1]("reset")
    return peers[1]
