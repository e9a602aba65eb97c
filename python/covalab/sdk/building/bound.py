"""Bound electron: what an electron returns inside a lattice, in place of a value that is still to come.

It can be passed on, indexed, asked for attributes, unpacked and calculated with; each of these is one more node. It
refuses whatever would need the value now; the error names what to do instead. Where ``sdk.strict_lattices`` is off, it
gives the answers that Covalent's stand-in gives, where that has any, and warns.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Final, NoReturn, Protocol, TypeVar

from covalab.core.errors import GraphError
from covalab.sdk.building.unpacking import is_looped, is_starred, unpacked_count

_T = TypeVar("_T")

_OTHERWISE: Final = "do that inside an electron, where the value is there"


class Building(Protocol):
    """Graph that is being built, as its bound electrons use it."""

    def name_of(self, node: int) -> str:
        """Return the name of a node."""
        ...

    def item(self, e: BoundElectron, key: object, name: str) -> BoundElectron:
        """Add ``e[key]``."""
        ...

    def attribute(self, e: BoundElectron, name: str) -> BoundElectron:
        """Add ``e.name``."""
        ...

    def operator(self, symbol: str, left: object, right: object) -> BoundElectron:
        """Add ``left symbol right``."""
        ...

    def wait(self, child: BoundElectron, parents: Iterable[object]) -> None:
        """Let `child` start only after `parents`."""
        ...

    @property
    def is_strict(self) -> bool:
        """Whether what needs the value now is refused."""
        ...

    def warn(self, message: str) -> None:
        """Warn of the line of the body that is running, once."""
        ...

    def failing(self, e: BoundElectron, name: str, reason: str) -> BoundElectron:
        """Add a node that takes `e` and fails when it runs."""
        ...


def _answering(what: str, answer: Callable[..., _T]) -> Callable[..., _T]:
    """Return a method that refuses or, where that is not strict, warns and answers about the stand-in."""
    refuse = _refusing(what)

    def respond(self: BoundElectron, *others: object) -> _T:
        if self._covalab_trace.is_strict:
            refuse(self)
        answered = answer(self, *others)
        self._covalab_trace.warn(
            f"cannot {what} {self!r}: it has no value yet while the lattice is built; as in Covalent the answer is "
            f"{answered}, whatever the value will be; {_OTHERWISE}"
        )
        return answered

    return respond


def _refusing(what: str) -> Callable[..., NoReturn]:
    def refuse(self: BoundElectron, *_: object, **__: object) -> NoReturn:
        message = f"cannot {what} {self!r}: it has no value yet while the lattice is built; {_OTHERWISE}"
        raise TypeError(message)

    return refuse


class BoundElectron:
    """Value of a node before there is one. ``node_id`` is the node's number in the transport graph."""

    __slots__ = ("__weakref__", "_covalab_outputs", "_covalab_trace", "node_id")

    _covalab_trace: Building
    _covalab_outputs: tuple[str, ...]
    node_id: int

    # An array on the left of an operator leaves the operation to us instead of trying its elements one by one.
    __array_ufunc__ = None

    def __repr__(self) -> str:
        return f"<electron {self._covalab_trace.name_of(self.node_id)!r} (node {self.node_id})>"

    def __str__(self) -> str:
        # In an f-string nobody sees that this is not the value's text.
        self._covalab_trace.warn(
            f"the text of {self!r} is that of a stand-in, not of its value: it has no value yet while the lattice is "
            f"built; {_OTHERWISE}"
        )
        return repr(self)

    __hash__ = object.__hash__

    def wait_for(self, electrons: BoundElectron | Iterable[BoundElectron]) -> BoundElectron:
        """Let this one start only after others have ended, without taking their values.

        Parameters
        ----------
        electrons
            One electron or several.

        Returns
        -------
        BoundElectron
            This electron.
        """
        self._covalab_trace.wait(self, [electrons] if isinstance(electrons, BoundElectron) else list(electrons))
        return self

    def __getitem__(self, key: object) -> BoundElectron:
        outputs = self._covalab_outputs
        if outputs and type(key) is int and not -len(outputs) <= key < len(outputs):
            message = f"{self!r} has {len(outputs)} outputs ({', '.join(outputs)}), there is no number {key}"
            raise GraphError(message)
        name = self._covalab_trace.name_of(self.node_id)
        return self._covalab_trace.item(self, key, f":{name}.__getitem__")

    def __getattr__(self, attr: str) -> BoundElectron:
        # Probing by pickle, NumPy and IPython is not a wish for a node; `keys` would make `dict(e)` look possible.
        if attr == "keys" or attr.startswith(("_repr_", "_ipython_")) or (attr[:2] == attr[-2:] == "__"):
            message = f"{self!r} has no attribute {attr!r} before it has a value; {_OTHERWISE}"
            raise AttributeError(message)
        return self._covalab_trace.attribute(self, attr)

    def __iter__(self) -> Iterator[BoundElectron]:
        frame = sys._getframe(1)  # noqa: SLF001 - the only way to learn how many names are on the left
        n_names, outputs = unpacked_count(frame), self._covalab_outputs
        if outputs and n_names not in (None, len(outputs)):
            message = f"{self!r} has {len(outputs)} outputs ({', '.join(outputs)}), not {n_names}"
            raise GraphError(message)
        if n_names is None and not outputs:
            starred = is_starred(frame)
            what = "unpack into names of which one has a star" if starred else "iterate over"
            message = (
                f"cannot {what} {self!r}: how long it is will be known when it has run; unpack it into a fixed number "
                f"of names (`a, b = ...`), index it (`e[0]`), or loop over it inside an electron"
            )
            if starred or self._covalab_trace.is_strict:
                raise TypeError(message)
            return self._covalents_items(message)
        name = self._covalab_trace.name_of(self.node_id)
        n_items = len(outputs) if n_names is None else n_names
        return iter([self._covalab_trace.item(self, i, f":{name}()[{i}]") for i in range(n_items)])

    def _covalents_items(self, message: str) -> Iterator[BoundElectron]:
        """Yield what Covalent's stand-in has inside: nothing, but for a loop something that fails when it runs."""
        trace = self._covalab_trace
        # Not earlier: `enumerate(e)` asks for the first item when it is in a loop itself.
        if is_looped(sys._getframe(1)):  # noqa: SLF001 - as in `__iter__`
            trace.warn(f"{message}; this loop runs once, with an electron that fails")
            yield trace.failing(self, f":{trace.name_of(self.node_id)}()[0]", message)
        else:
            trace.warn(f"{message}; as in Covalent it has no items here, whatever the value will be")

    def __call__(self, *_: object, **__: object) -> BoundElectron:
        """Refuse: neither a method nor a result can be called before it is there."""
        message = (
            f"cannot call {self!r}: methods and results of electrons have no value yet while the lattice is built; "
            "call the method inside an electron"
        )
        trace = self._covalab_trace
        if trace.is_strict:
            raise TypeError(message)
        trace.warn(f"{message}; this call is an electron that fails")
        return trace.failing(self, f":{trace.name_of(self.node_id)}()", message)

    def __reduce_ex__(self, _: object) -> NoReturn:
        message = (
            f"{self!r} has no value yet and is hidden inside another object; pass it to an electron as an argument of "
            "its own, or inside a list, tuple, set or dict"
        )
        raise TypeError(message)

    def __add__(self, other: object) -> BoundElectron:
        return self._covalab_trace.operator("+", self, other)

    def __radd__(self, other: object) -> BoundElectron:
        return self._covalab_trace.operator("+", other, self)

    def __sub__(self, other: object) -> BoundElectron:
        return self._covalab_trace.operator("-", self, other)

    def __rsub__(self, other: object) -> BoundElectron:
        return self._covalab_trace.operator("-", other, self)

    def __mul__(self, other: object) -> BoundElectron:
        return self._covalab_trace.operator("*", self, other)

    def __rmul__(self, other: object) -> BoundElectron:
        # Covalent swaps: the node of `2 * f()` is called `f_*_2`.
        return self._covalab_trace.operator("*", self, other)

    def __truediv__(self, other: object) -> BoundElectron:
        return self._covalab_trace.operator("/", self, other)

    def __rtruediv__(self, other: object) -> BoundElectron:
        return self._covalab_trace.operator("/", other, self)

    def __pow__(self, other: object) -> BoundElectron:
        return self._covalab_trace.operator("**", self, other)

    __bool__ = _answering("ask for the truth of", lambda _: True)
    __eq__ = _answering("compare", operator.is_)
    __ne__ = _answering("compare", operator.is_not)
    __lt__ = __le__ = __gt__ = __ge__ = _refusing("compare")
    __len__ = _refusing("take the length of")
    __contains__ = _answering("look into", lambda *_: False)
    __reversed__ = _refusing("iterate over")
    __int__ = _answering("convert", lambda _: 0)
    __float__ = _answering("convert", lambda _: 0.0)
    __complex__ = _answering("convert", lambda _: 0j)
    __index__ = _refusing("convert")
    __abs__ = __neg__ = __pos__ = __invert__ = __round__ = _refusing("calculate this with")
    __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = _refusing("calculate this with")
    __matmul__ = __rmatmul__ = __divmod__ = __rdivmod__ = __rpow__ = _refusing("calculate this with")
    __and__ = __rand__ = __or__ = __ror__ = __xor__ = __rxor__ = _refusing("calculate this with")
    __setitem__ = __delitem__ = __setattr__ = __delattr__ = _refusing("change")
    __enter__ = __exit__ = __await__ = _refusing("wait for")


_set: Final = object.__setattr__


def bind(trace: Building, node: int, outputs: tuple[str, ...] = ()) -> BoundElectron:
    """Return the bound electron of a node; `outputs` are the names of its parts, where they are known."""
    bound = object.__new__(BoundElectron)
    _set(bound, "_covalab_trace", trace)
    _set(bound, "node_id", node)
    _set(bound, "_covalab_outputs", outputs)
    return bound
