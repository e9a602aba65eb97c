"""What the dispatcher's tests have in common."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.dispatcher.clock import Clock, clock_in


@pytest.fixture
def clock(tmp_path: Path) -> Iterator[Clock]:
    """Return a clock for a dispatcher of this test's own."""
    with clock_in(tmp_path) as it:
        yield it
