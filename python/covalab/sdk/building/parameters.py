"""Matching of arguments to parameters, done when the graph is built and not an hour later on a worker.

The signature of a function is read once; matching a call against it is then cheap enough for ten thousand calls.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Final

from covalab.core.errors import GraphError, MissingArguments
from covalab.core.os_text import is_sendable
from covalab.sdk.values import UserFunction, UserValue

_BY_POSITION: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


class Parameters:
    """Parameters of one function."""

    __slots__ = (
        "_by_name",
        "_keyword_only",
        "_n_required",
        "_positional",
        "_required",
        "_shapes",
        "_signature",
        "_star",
        "_stars",
    )

    def __init__(self, function: UserFunction) -> None:
        try:
            signature = inspect.signature(function)
        except (TypeError, ValueError):  # some built-in functions have no signature; take whatever comes
            signature = inspect.signature(lambda *args, **kwargs: None)  # noqa: ARG005 - its signature is all that is wanted
        self._signature = str(signature)
        self._shapes: dict[tuple[object, ...], tuple[Sequence[str], Sequence[str]]] = {}
        found = signature.parameters.values()
        self._positional = tuple(p.name for p in found if p.kind in _BY_POSITION)
        self._keyword_only = tuple(p.name for p in found if p.kind is p.KEYWORD_ONLY)
        self._by_name = frozenset(p.name for p in found if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))
        self._star = any(p.kind is p.VAR_POSITIONAL for p in found)
        self._stars = any(p.kind is p.VAR_KEYWORD for p in found)
        must = [p for p in found if p.default is p.empty and p.kind in (*_BY_POSITION, p.KEYWORD_ONLY)]
        self._required = tuple(p.name for p in must)
        # Positionals alone are enough from this many on; never, if a keyword is required.
        only_positional = all(p.kind in _BY_POSITION for p in must)
        self._n_required = len(must) if only_positional else len(self._positional) + 1

    def takes(self, name: str) -> bool:
        """Return whether an argument of this name can be given."""
        return self._stars or name in self._by_name

    def match(
        self, what: str, args: Sequence[UserValue], kwargs: Mapping[str, UserValue]
    ) -> tuple[Sequence[str], Sequence[str]]:
        """Return the names of the positional arguments, and of the keyword arguments in the order of the signature.

        Parameters
        ----------
        what
            How an error calls the function, e.g. ``"electron 'train'"``.
        args, kwargs
            The arguments of the call.

        Raises
        ------
        GraphError
            For an argument too many or an unknown name (a ``ValueError``, as in Covalent).
        MissingArguments
            For a missing argument (a ``TypeError``).

        Examples
        --------
        >>> def train(X, y, *more, C=1.0, **options): ...
        >>> Parameters(train).match("electron 'train'", (1, 2, 3), {"gamma": 2, "C": 1})
        (('X', 'y', 'arg[2]'), ('C', 'gamma'))
        """
        n_args = len(args)
        if not kwargs and self._n_required <= n_args <= len(self._positional):
            return self._positional, ()
        shape = (n_args, *kwargs)
        found = self._shapes.get(shape)
        if found is None:
            self._check(what, n_args, kwargs)
            names = (*self._positional[:n_args], *(f"arg[{i}]" for i in range(len(self._positional), n_args)))
            in_order = [name for name in (*self._positional, *self._keyword_only) if name in kwargs]
            found = names, tuple(dict.fromkeys([*in_order, *kwargs]))
            if n_args <= len(self._positional):  # else there is a shape for every length
                self._shapes[shape] = found
        return found

    def _check(self, what: str, n_args: int, kwargs: Mapping[str, UserValue]) -> None:
        takes = f"it takes {self._signature}"
        if n_args > len(self._positional) and not self._star:
            message = f"{what} got {n_args} positional arguments; {takes}"
            raise GraphError(message)
        unknown = [name for name in kwargs if name not in self._by_name]
        if unknown and not self._stars:
            message = f"{what} has no parameter {', '.join(map(repr, unknown))}; {takes}"
            raise GraphError(message)
        odd = [name for name in kwargs if not is_sendable(name)]
        if odd:
            message = (
                f"{what} has a keyword argument {', '.join(map(ascii, odd))}, which is no UTF-8 and cannot be sent as "
                "a name; pass a dict with it"
            )
            raise GraphError(message)
        given = self._positional[:n_args]
        twice = [name for name in given if name in kwargs and name in self._by_name]
        if twice:
            message = f"{what} got {', '.join(map(repr, twice))} both by position and by name; {takes}"
            raise GraphError(message)
        named = self._by_name.intersection(kwargs)
        missing = [name for name in self._required if name not in given and name not in named]
        if missing:
            message = f"{what} is missing {', '.join(map(repr, missing))}; {takes}"
            raise MissingArguments(message)
