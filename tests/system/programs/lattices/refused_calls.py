"""Make the mistakes that Covalent reports where the workflow is dispatched, and catch them as its programs do."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import covalab as ct


@ct.electron
def add(x: int, y: int = 1) -> int:
    """Add two numbers."""
    return x + y


@ct.lattice
def workflow(x: int) -> int:
    """Add two numbers."""
    return add(x)


@ct.lattice
def broken(x: int) -> int:
    """Fail while it is built."""
    message = f"no {x}"
    raise ZeroDivisionError(message)


@ct.lattice
def surplus(x: int) -> int:
    """Call an electron with one argument too many."""
    return add(x, 1, 2)  # type: ignore[call-arg]


def raised_by(call: Callable[[], Any]) -> type[BaseException]:
    """Return the type of what is raised."""
    try:
        call()
    except Exception as error:  # noqa: BLE001
        return type(error)
    raise AssertionError


def main() -> None:
    """Check `ValueError` for surplus or unknown arguments, `TypeError` for missing ones, and the body's own errors."""
    assert issubclass(raised_by(lambda: ct.dispatch(workflow)(1, 2)), ValueError)
    assert issubclass(raised_by(lambda: ct.dispatch(workflow)(z=2)), ValueError)
    assert issubclass(raised_by(ct.dispatch(workflow)), TypeError)
    assert issubclass(raised_by(lambda: ct.dispatch(surplus)(1)), ValueError)
    assert raised_by(lambda: ct.dispatch(broken)(1)) is ZeroDivisionError
    assert issubclass(raised_by(lambda: ct.dispatch(workflow)(threading.Lock())), TypeError)
    not_a_lattice: Any = add
    assert issubclass(raised_by(lambda: ct.dispatch(not_a_lattice)(1)), TypeError)
    assert ct.dispatch_sync(workflow)(1).result == 2
