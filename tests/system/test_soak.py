"""Mixed dispatches for a while, at random: fans, chains, failures, cancels, deadly tasks. None hangs."""

from __future__ import annotations

import random
import time

import pytest
from tests.system.tasks import adding, dying

import covalab as ct
from covalab.client import Client


@ct.electron
def waiting(x: int, seconds: float) -> int:
    """Take a while."""
    time.sleep(seconds)
    return x


@ct.electron
def failing(x: int) -> int:
    """Fail."""
    raise ValueError(x)


@ct.lattice
def fan(n: int) -> object:
    """Many side by side."""
    return [adding(x) for x in range(n)]


@ct.lattice
def chain(n: int) -> object:
    """One after the other."""
    value = 0
    for _ in range(n):
        value = adding(value)
    return value


@ct.lattice
def mixed(n: int) -> object:
    """Some fail, some do not."""
    return [adding(waiting(x, 0.01)) for x in range(n)], [failing(x) for x in range(3)]


@ct.lattice
def slow(n: int) -> object:
    """Long enough to be cancelled."""
    return [waiting(x, 0.3) for x in range(n)]


@ct.lattice
def deadly() -> object:
    """One takes its worker down."""
    return dying(), [adding(x) for x in range(10)]


def dispatch_something(draw: random.Random) -> tuple[str, str]:
    """Dispatch one at random; return its id and the status it must end with."""
    fate = draw.random()
    if fate < 0.4:
        return ct.dispatch(fan)(draw.choice([1, 10, 300])), "COMPLETED"
    if fate < 0.6:
        return ct.dispatch(chain)(draw.choice([1, 30])), "COMPLETED"
    if fate < 0.8:
        return ct.dispatch(mixed)(draw.choice([1, 10])), "FAILED"
    if fate < 0.92:
        dispatch = ct.dispatch(slow)(20)
        time.sleep(draw.random() * 0.6)
        ct.cancel(dispatch)
        return dispatch, "CANCELLED"
    return ct.dispatch(deadly)(), "FAILED"


def soak(client: Client, seed: int, seconds: float) -> None:
    """Dispatch in bursts; every dispatch must end as it should, soon."""
    print(f"seed {seed}")
    draw = random.Random(seed)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        burst = [dispatch_something(draw) for _ in range(draw.randrange(1, 6))]
        for dispatch, expected in burst:
            result = ct.get_result(dispatch, wait=True, timeout=120)
            assert result.status == expected, (client.summary(dispatch), client.status(), result.error)
    assert client.status().active == 0


def test_ten_seconds_of_everything(own: Client) -> None:
    """Whatever is thrown at it, every dispatch ends as it should."""
    soak(own, random.randrange(10**6), 10)


@pytest.mark.nightly
@pytest.mark.timeout(1200)
def test_fifteen_minutes_of_everything(own: Client) -> None:
    """The same, for long enough to meet what is rare."""
    soak(own, random.randrange(10**6), 900)
