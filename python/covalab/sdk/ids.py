"""Ids and addresses as the verbs accept them, checked before a request is made."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from covalab.client import connect
from covalab.core.errors import AmbiguousId, GraphError
from covalab.core.model import DispatchId

_BEGINNING: Final = re.compile(r"[0-9a-f][0-9a-f-]{3,34}")  # shorter than an id, which is not looked up
_SHOWN: Final = 4
_THIS_MACHINE: Final = ("localhost", "127.0.0.1", "0.0.0.0", "::1")  # noqa: S104 - compared, nothing listens


def checked_id(dispatch_id: object) -> DispatchId:
    """Return `dispatch_id` as an id if it is a `str`; else raise TypeError."""
    if not isinstance(dispatch_id, str):
        message = f"a dispatch id is a str, as ct.dispatch returned it, not {dispatch_id!r}"
        raise TypeError(message)
    return DispatchId(str(dispatch_id))


def whole_id(text: str) -> str:
    """Return the id of the dispatch, or of the interrupt in it, of which a person typed at least four signs.

    A text that begins no id stays as it is: whoever asks for that dispatch is told that there is none.

    Raises
    ------
    AmbiguousId
        If several dispatches have ids that begin so.
    """
    beginning, colon, node = text.partition(":")
    if not _BEGINNING.fullmatch(beginning):
        return text
    found = connect().dispatches(prefix=beginning, count=_SHOWN + 1)
    if len(found) > 1:
        names = ", ".join(f"{one.id} ({one.name})" for one in found[:_SHOWN])
        more = " and others" if len(found) > _SHOWN else ""
        message = f"several ids begin with {beginning}: {names}{more}; write more of the one that is meant"
        raise AmbiguousId(message)
    return f"{found[0].id}{colon}{node}" if found else text


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
