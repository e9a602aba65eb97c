"""Own attributes: those that an object has, not those that its `__getattr__` would answer. Pure.

A mock or a lazy value (`dask.delayed`) answers to any name, with an object that may refuse to be true or false; another
kind raises, or counts who asked. A value of the user's is never asked whether it is one of ours.
"""

from __future__ import annotations

from typing import Any


def own_attribute(obj: object, name: str) -> Any:
    """Return an attribute that an object has, without its `__getattr__`; None if it has none.

    >>> from unittest.mock import Mock
    >>> own_attribute(Mock(), "electron_object") is None
    True
    """
    try:
        return object.__getattribute__(obj, name)
    except AttributeError:
        return None


def function_of_member(member: object) -> Any:
    """Return the function of a static or class method or of a property; anything else as it is.

    >>> function_of_member(staticmethod(len)) is len
    True
    """
    function = member.fget if isinstance(member, property) else own_attribute(member, "__func__")
    return member if function is None else function
