"""Names for types that Python's typing has no word for; each has one meaning in all of `sdk`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

UserValue: TypeAlias = Any
"""A value of the user's own: an argument, a result, a piece of state. covalab makes no assumption about its type."""

FieldDict: TypeAlias = dict[str, UserValue]
"""A dictionary with known keys, whose values have a type each: the docstring that returns one lists them."""

UserFunction: TypeAlias = Callable[..., UserValue]
"""A function of the user's own."""
