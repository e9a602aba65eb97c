"""Text of the operating system in messages: paths and variables, which may be bytes that are no UTF-8. Pure.

Python shows such bytes as half surrogate pairs, which no message can carry. What is only shown becomes escapes
(`codec.printable`); what is used, such as a folder to work in, is written here in a form that can be read back.
"""

from __future__ import annotations

import os
from typing import Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

_MARK: Final = "os-bytes:"


def sendable(text: str) -> str:
    r"""Return a path or the value of a variable as a message can carry it: nearly always as it is.

    Examples
    --------
    >>> sendable("/data/café"), sendable("/data/caf\udce9")
    ('/data/café', 'os-bytes:/data/caf%E9')
    """
    if is_sendable(text) and not text.startswith(_MARK):
        return text
    try:
        return _MARK + quote_from_bytes(os.fsencode(text))
    except UnicodeEncodeError:  # it comes from no system call: there is no such path
        return text.encode("utf-8", "backslashreplace").decode()


def received(text: str) -> str:
    r"""Return what `sendable` was given.

    Examples
    --------
    >>> received("os-bytes:/data/caf%E9")
    '/data/caf\udce9'
    """
    return os.fsdecode(unquote_to_bytes(text.removeprefix(_MARK))) if text.startswith(_MARK) else text


def is_sendable(text: str) -> bool:
    """Return whether a message can carry a text."""
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
