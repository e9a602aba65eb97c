"""Exchange of names for a cell that runs in another process, as if it had run here.

`send` pickles the names that the cell needs and keeps every object in them that can change, by the number that the
pickler gave it. `receive` unpickles them; the unpickler gives the same numbers. After the cell, `Received.reply`
pickles what is new or changed, in which the objects that came are their numbers. `deliver` puts the notebook's own
objects there, and gives those that changed their new content in place, so that all that refers to them sees it.
"""

from __future__ import annotations

import array
import io
import pickle
import types
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Final

import msgspec

from covalab.core.codec import USERS_ERRORS, frames_of, pack
from covalab.core.errors import SerializationError
from covalab.core.pickling import call_deep, implementations, is_single_dispatch
from covalab.namespace.covariables import is_hidden
from covalab.namespace.definitions import TARGET, reduce_function
from covalab.namespace.delivery import Delivered, Reply, apply_reply
from covalab.namespace.live_objects import live_objects, no_collections
from covalab.namespace.object_state import ObjectStates, ReferringPickler, attributes_of, refuse_half
from covalab.namespace.pickling import (
    NamespacePickler,
    NamespaceUnpickler,
    marked,
    out_of_band,
    reason_against,
    recorded,
    unpicklable_message,
)

_EMPTY: Final[frozenset[int]] = frozenset()


class Sent(msgspec.Struct):
    """Names that were sent: the bytes, and what stays here for `deliver`.

    Attributes
    ----------
    data
        The bytes for `receive`.
    unsendable
        Names that cannot be pickled, with the reason. They are not in the bytes.
    """

    data: bytes
    unsendable: dict[str, str]
    values: dict[str, Any]
    states: ObjectStates


def send(
    names: Iterable[str],
    namespace: dict[str, Any],
    is_hidden: Callable[[str], bool] = is_hidden,
) -> Sent:
    """Pickle the names that a cell mentions, and those that functions among them mention.

    Names that do not exist are left out: the cell may make them.
    """
    with no_collections():
        return _send(names, namespace, is_hidden)


def _send(names: Iterable[str], namespace: dict[str, Any], is_hidden: Callable[[str], bool]) -> Sent:
    wanted = [name for name in dict.fromkeys(names) if name in namespace and not is_hidden(name)]
    unsendable: dict[str, str] = {}
    whole = _EMPTY
    early: set[str] = set()
    while True:
        try:
            values, stream, buffers, pickler = _at_any_depth(
                lambda: _sent_stream(wanted, namespace, is_hidden, unsendable, whole, early)  # noqa: B023 - called at once
            )
        except USERS_ERRORS:
            if not _find_unsendable(wanted, namespace, is_hidden, unsendable):
                raise
            continue
        missing = pickler.arrays.needed_whole()
        used = {name for name in pickler.in_formulas if name in namespace and not is_hidden(name)}
        if not missing - whole and used <= early:
            break
        wanted += sorted(used - {*wanted})
        early |= used
        whole |= missing
    objects = live_objects(pickler, namespace)
    data = pack([stream, array.array("I", objects).tobytes(), *buffers]).join()
    return Sent(data, unsendable, values, ObjectStates(objects, namespace))


class _SendingPickler(NamespacePickler):
    """Pickler of what is sent: of that the objects here and there are changed one by one."""

    def reducer_override(self, obj: Any) -> Any:
        """Return how to make an object."""
        refuse_half(obj)
        return super().reducer_override(obj)


def _sent_stream(
    wanted: list[str],
    namespace: dict[str, Any],
    is_hidden: Callable[[str], bool],
    unsendable: Mapping[str, str],
    whole: frozenset[int],
    early: Collection[str],
) -> tuple[dict[str, Any], bytes, list[Any], NamespacePickler]:
    buffers: list[Any] = []
    values: dict[str, Any] = {}
    with io.BytesIO() as file:
        pickler = _SendingPickler(file, namespace, out_of_band(buffers), whole=whole)
        # Code first, then what formulas mention: values which are opened may need them.
        known = [name for name in wanted if name not in unsendable]
        waiting = _code_of(known, namespace) or [name for name in known if name in early] or known
        while waiting:
            values.update({name: namespace[name] for name in waiting})
            pickler.dump(marked({name: namespace[name] for name in waiting}, namespace))
            waiting = [
                name
                for name in sorted({*pickler.mentioned, *wanted})
                if name in namespace and name not in values and name not in unsendable and not is_hidden(name)
            ]
            waiting = [name for name in waiting if name in early] or waiting
        return values, file.getvalue(), buffers, pickler


def _code_of(names: Iterable[str], namespace: Mapping[str, Any]) -> list[str]:
    # By type, here and below: `isinstance` asks a weak proxy for its class, and fails if its object is gone.
    code = [name for name in names if issubclass(type(namespace[name]), (types.FunctionType, type, types.ModuleType))]
    # Modules first: a class that is one of theirs is found there.
    return sorted(code, key=lambda name: not issubclass(type(namespace[name]), types.ModuleType))


def _find_unsendable(
    wanted: list[str], namespace: dict[str, Any], is_hidden: Callable[[str], bool], unsendable: dict[str, str]
) -> bool:
    """Find the names that cannot be pickled, one by one. Return whether there are more of them than before."""
    before = len(unsendable)
    seen: set[str] = set()
    waiting = list(wanted)
    while waiting:
        name = waiting.pop()
        if name in seen or name in unsendable or name not in namespace or is_hidden(name):
            continue
        seen.add(name)
        pickler = _SendingPickler(io.BytesIO(), namespace, lambda _: False)
        try:
            pickler.dump(marked({name: namespace[name]}, namespace))
        except USERS_ERRORS as error:
            reason = reason_against(name, namespace[name], namespace)  # None if it was only too deep
            if reason is None and isinstance(error, TypeError):  # one that only a session can store
                reason = unpicklable_message(name, namespace[name], error, recorded(namespace[name], namespace))
            if reason is not None:
                unsendable[name] = reason
            del error
        waiting += pickler.mentioned
    return len(unsendable) > before


def _at_any_depth(function: Callable[[], Any]) -> Any:
    try:
        return function()
    except (pickle.PicklingError, RecursionError) as error:
        if not isinstance(error.__cause__ or error, RecursionError):
            raise
        return call_deep(function)


class Received:
    """Names that were received, and the objects in them that can change.

    Attributes
    ----------
    names
        The names that came.
    """

    def __init__(self, values: dict[str, Any], objects: dict[int, Any], namespace: dict[str, Any]) -> None:
        self.names = tuple(values)
        self._values = values
        self._namespace = namespace
        self._states = ObjectStates(objects, namespace)

    def reply(self, bound: Collection[str] | None = None, is_hidden: Callable[[str], bool] = is_hidden) -> bytes:
        """Pickle what a cell left: names that are new or mean something else, and the content of changed objects.

        Parameters
        ----------
        bound
            The names that the cell binds, if that is known: they are delivered even if they mean what they meant.
        is_hidden
            Whether a name is not the notebook's.
        """
        own = self._namespace
        names = [
            name
            for name in list(own)
            if not is_hidden(name)
            and (name not in self._values or own[name] is not self._values[name] or name in (bound or ()))
        ]
        reply = Reply(
            deleted=[name for name in self._values if name not in own], changed=self._states.changed(), unsendable={}
        )
        left_out: list[str] = []
        whole = _EMPTY
        early: set[str] = set()
        while True:
            try:
                stream, buffers, pickler = _at_any_depth(lambda: self._stream(names, left_out, reply, whole, early))  # noqa: B023 - called at once
            except USERS_ERRORS as error:
                if not self._find_unsendable(names, left_out, reply):
                    text = f"what the cell made cannot be pickled together: {type(error).__name__}: {error}"
                    raise SerializationError(text) from error
                continue
            missing = pickler.arrays.needed_whole()
            used = pickler.in_formulas & {*names}
            if not missing - whole and used <= early:
                return pack([stream, *buffers]).join()
            whole |= missing
            early |= used

    def _pickler(self, file: Any, buffers: list[Any], whole: frozenset[int] = _EMPTY) -> ReferringPickler:
        numbers = self._states.numbers
        return ReferringPickler(file, self._namespace, numbers, buffer_callback=out_of_band(buffers), whole=whole)

    def _stream(
        self, names: list[str], left_out: list[str], reply: Reply, whole: frozenset[int], early: Collection[str]
    ) -> tuple[bytes, list[Any], ReferringPickler]:
        buffers: list[Any] = []
        with io.BytesIO() as file:
            pickler = self._pickler(file, buffers, whole)
            pickler.changed = reply.changed
            pickler.dump(msgspec.to_builtins(reply))
            kept = [name for name in names if name not in left_out]
            # What values need where they are opened: code, and what formulas mention.
            first = dict.fromkeys([*_code_of(kept, self._namespace), *(name for name in kept if name in early)])
            for some in (first, [name for name in kept if name not in first]):
                pickler.dump(marked({name: self._namespace[name] for name in some}, self._namespace))
            for number in reply.changed:
                self._dump_content(pickler, number)
            return file.getvalue(), buffers, pickler

    def _dump_content(self, pickler: ReferringPickler, number: int) -> None:
        obj = self._states.objects[number]
        if issubclass(type(obj), type):
            before = dict(zip(*self._states.states[number], strict=True))
            now = attributes_of(obj)
            changed = {name: value for name, value in now.items() if before.get(name, TARGET) is not value}
            pickler.dump((changed, [name for name in before if name not in now]))
        elif issubclass(type(obj), types.FunctionType):
            pickler.dump(implementations(obj) if is_single_dispatch(obj) else reduce_function(obj)[2])
        elif issubclass(type(obj), types.CellType):
            pickler.dump(self._states.take(obj))
        else:
            pickler.root = obj
            pickler.dump(obj)

    def _find_unsendable(self, names: list[str], left_out: list[str], reply: Reply) -> bool:
        """Leave out what cannot be pickled, one by one. Return whether there was any."""
        found = False
        for name in [name for name in names if name not in left_out]:
            value = self._namespace[name]
            try:
                _at_any_depth(lambda: self._pickler(io.BytesIO(), []).dump(value))  # noqa: B023 - called at once
            except USERS_ERRORS as error:
                reply.unsendable[name] = unpicklable_message(name, value, error, recorded(value, self._namespace))
                left_out.append(name)
                found = True
        for number in list(reply.changed):
            try:
                _at_any_depth(lambda: self._dump_content(self._pickler(io.BytesIO(), []), number))  # noqa: B023 - as above
            except USERS_ERRORS as error:
                reply.changed.remove(number)
                reply.lost.append((number, f"{type(error).__name__}: {error}"))
                found = True
        return found


def receive(data: bytes, namespace: dict[str, Any]) -> Received:
    """Load the names that were sent into a namespace.

    Raises
    ------
    SerializationError
        If they cannot be unpickled here; no name is bound.
    """
    frames, _ = frames_of(data, what="the variables of the cell")
    numbers = array.array("I", bytes(frames[1]))
    unpickler = NamespaceUnpickler(io.BytesIO(frames[0]), namespace, frames[2:])
    values: dict[str, Any] = {}
    with ExitStack() as undo:
        try:
            for loaded in _rest(unpickler):
                values.update(loaded)
                undo.callback(_put_back, loaded, _meanings(loaded, namespace), namespace)
                namespace.update(loaded)  # a `__setstate__` that comes later looks up its helpers there
        except USERS_ERRORS as error:
            text = f"the variables of the cell cannot be opened here: {type(error).__name__}: {error}"
            raise SerializationError(text) from error
        memo = unpickler.memo.copy()
        received = Received(values, {number: memo[number] for number in numbers}, namespace)
        undo.pop_all()
    return received


def _rest(unpickler: pickle.Unpickler) -> Iterable[Any]:
    while True:
        try:
            loaded = unpickler.load()
        except EOFError:
            return
        yield loaded


def deliver(sent: Sent, data: bytes, namespace: dict[str, Any]) -> Delivered:
    """Take over what a cell left in another process.

    Names that the cell bound are bound here. Objects that it changed are changed in place; what the notebook did to
    the same object meanwhile is lost, and said. A name that only the notebook bound meanwhile stays so.

    Raises
    ------
    SerializationError
        If it cannot be unpickled here; nothing is changed.
    DeliveryError
        If it failed in the middle; the message says what is changed nevertheless.
    """
    frames, _ = frames_of(data, what="what the cell left")
    unpickler = _ReferringUnpickler(io.BytesIO(frames[0]), namespace, frames[1:])
    unpickler.objects = sent.states.objects
    try:
        reply = msgspec.convert(unpickler.load(), Reply)
        code = unpickler.load()
        with _bound(code, namespace):
            values = {**code, **unpickler.load()}
            contents = {number: unpickler.load() for number in reply.changed}
    except USERS_ERRORS as error:
        text = f"what the cell left cannot be opened here: {type(error).__name__}: {error}"
        raise SerializationError(text) from error
    return apply_reply(reply, values, contents, sent.states, sent.values, namespace)


@contextmanager
def _bound(code: Mapping[str, Any], namespace: dict[str, Any]) -> Iterator[None]:
    """Bind names while values are opened: a `__setstate__` looks up its helpers there."""
    before = _meanings(code, namespace)
    namespace.update(code)
    try:
        yield
    finally:
        _put_back(code, before, namespace)


def _meanings(names: Iterable[str], namespace: Mapping[str, Any]) -> dict[str, Any]:
    """Return what names mean that are bound."""
    return {name: namespace[name] for name in names if name in namespace}


def _put_back(names: Iterable[str], before: Mapping[str, Any], namespace: dict[str, Any]) -> None:
    """Let names mean what they meant, or nothing."""
    for name in names:
        if name in before:
            namespace[name] = before[name]
        else:
            namespace.pop(name, None)


class _ReferringUnpickler(NamespaceUnpickler):
    objects: Mapping[int, Any]

    def persistent_load(self, number: Any) -> Any:
        """Return the object with a number."""
        return self.objects[number]
