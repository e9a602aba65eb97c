"""Helpers of the tests in this folder: dispatches, and requests."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from tornado.httpclient import HTTPResponse

import covalab as ct

Send: TypeAlias = Callable[..., Awaitable[HTTPResponse]]


@ct.electron
def successor(x: int) -> int:
    """Add one."""
    return x + 1


@ct.electron
def repeated(text: str, times: int) -> str:
    """Say it often."""
    return text * times


@ct.electron
def sleeping(seconds: float) -> str:
    """Take a while."""
    time.sleep(seconds)
    return "slept"


def dispatch(electron: Callable[..., Any], *args: object, times: int = 1) -> str:
    """Dispatch an electron, `times` beside each other; return the id."""

    def workflow() -> list[Any]:
        return [electron(*args) for _ in range(times)]

    lattice: Any = ct.lattice(workflow)
    return str(ct.dispatch(lattice)())
