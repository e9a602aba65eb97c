"""Ids and addresses as the verbs accept them, checked before a request is made."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

from covalab.core.errors import GraphError
from covalab.core.model import DispatchId

_THIS_MACHINE: Final = ("localhost", "127.0.0.1", "0.0.0.0", "::1")  # noqa: S104 - compared, nothing listens


def checked_id(dispatch_id: object) -> DispatchId:
    """Return `dispatch_id` as an id if it is a `str`; else raise TypeError."""
    if not isinstance(dispatch_id, str):
        message = f"a dispatch id is a str, as ct.dispatch returned it, not {dispatch_id!r}"
        raise TypeError(message)
    return DispatchId(str(dispatch_id))


def check_address(dispatcher_addr: str | None) -> None:
    """Raise GraphError if an address (Covalent's `dispatcher_addr`) names another machine."""
    if dispatcher_addr is None:
        return
    text = str(dispatcher_addr)
    host = urlsplit(text if "//" in text else f"//{text}").hostname
    if host not in _THIS_MACHINE:
        message = (
            f"there is no dispatcher at {dispatcher_addr!r}: covalab talks to the dispatcher of your data folder "
            "through a private socket; leave the address out, or set COVALAB_DATA_DIR to use another folder"
        )
        raise GraphError(message)
