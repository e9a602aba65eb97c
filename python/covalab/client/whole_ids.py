"""Beginnings of ids, where a person types one: the id that is meant."""

from __future__ import annotations

import re
from typing import Final

from covalab.client.connecting import connect
from covalab.core.errors import AmbiguousId

_BEGINNING: Final = re.compile(r"[0-9a-f][0-9a-f-]{3,34}")
_SHOWN: Final = 4


def whole_id(text: str) -> str:
    """Return the id of the only dispatch whose id begins with a text of at least four signs; else the text as it is.

    Raises
    ------
    AmbiguousId
        If several begin so.
    """
    if not _BEGINNING.fullmatch(text):
        return text
    found = connect().dispatches(prefix=text, count=_SHOWN + 1)
    if len(found) <= 1 or found[0].id == text:
        return found[0].id if found else text
    names = ", ".join(f"{one.id} ({one.name})" for one in found[:_SHOWN])
    more = " and others" if len(found) > _SHOWN else ""
    message = f"several ids begin with {text}: {names}{more}; write more of the one that is meant"
    raise AmbiguousId(message)
