"""Co-variables: names whose objects share an object that can change, stored together after each cell.

Only what a cell can have changed is looked at: the names that it mentions, those that share something with them, and
those that functions among them mention. All of these are pickled one by one; what the picklers met says which names
belong together. A class or a named function of the notebook is stored by itself: values refer to it by its id, so that
it is one object, with the attributes of now, however old the pickle of a value is.
"""

from __future__ import annotations

import gc
import io
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any, Final

import msgspec

from covalab.blobs import BlobStore
from covalab.core.codec import USERS_ERRORS, Encoded, frames_of, pack, type_name
from covalab.core.errors import SerializationError
from covalab.core.model import Digest, Value
from covalab.core.plain_types import ATOMS
from covalab.namespace.definitions import track_function, tracked_definition
from covalab.namespace.grouping import groups_of
from covalab.namespace.pickling import NamespaceUnpickler, Pickled, marked, pickled, unpicklable_message
from covalab.namespace.sharing import shared_objects

_INLINE_LIMIT: Final = 4 * 1024
"""Larger ones are blobs: each snapshot has all that is inline, and is stored once for each cell."""

_HIDDEN: Final = re.compile(r"__.*|_i+|_[ido]h|_i?\d+|_+|In|Out|exit|quit|get_ipython")


def is_hidden(name: str) -> bool:
    """Return whether a name of a kernel's namespace is not the notebook's.

    Examples
    --------
    >>> [name for name in ("x", "_x", "__name__", "_i3", "_12", "In", "get_ipython") if not is_hidden(name)]
    ['x', '_x']
    """
    return _HIDDEN.fullmatch(name) is not None


class StoredCovariable(msgspec.Struct, frozen=True, array_like=True):
    """Names that are stored together, the definitions among them (classes and named functions), and the value.

    A co-variable may have no names: it is a definition that others refer to. `needs` are the ids of the definitions
    that must be loaded for it.
    """

    names: tuple[str, ...]
    value: Value
    definitions: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()

    def definitions_are_apart_from(self, other: StoredCovariable) -> bool:
        """Return whether another one needs none of the definitions in this one."""
        return set(self.definitions).isdisjoint(other.needs)


class Snapshot(msgspec.Struct, frozen=True, array_like=True):
    """All names of a namespace after a cell: stored ones, and those that cannot be stored, with the reason."""

    covariables: tuple[StoredCovariable, ...] = ()
    unstorable: dict[str, str] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The names that are stored."""
        return tuple(name for one in self.covariables for name in one.names)

    @property
    def blobs(self) -> tuple[Digest, ...]:
        """The digests of the blobs that must be kept for this snapshot."""
        return tuple(dict.fromkeys(one.value.digest for one in self.covariables if one.value.digest is not None))


class _Look(msgspec.Struct):
    """Name or class, as it was when it was last looked at."""

    identity: int
    kind: type
    mentioned: frozenset[str] = frozenset()


class Tracker:
    """Tracker of what a namespace has stored, and of what changed since."""

    def __init__(self, namespace: dict[str, Any], is_hidden: Callable[[str], bool] = is_hidden) -> None:
        self._namespace = namespace
        self._is_hidden = is_hidden
        self._looks: dict[str, _Look] = {}
        self._stored: dict[str, StoredCovariable] = {}
        self._stored_definitions: dict[str, StoredCovariable] = {}
        self._unstorable: dict[str, str] = {}

    def store(self, blobs: BlobStore, touched: Collection[str] | None = None) -> Snapshot:
        """Store what may have changed, and return all names.

        Parameters
        ----------
        blobs
            The place for large values.
        touched
            The names that a cell mentions, in any way; None if that is not known.
        """
        # Millions of short-lived objects are made here, none of them in cycles.
        with _no_collections():
            return self._store(blobs, touched)

    def _store(self, blobs: BlobStore, touched: Collection[str] | None) -> Snapshot:
        names = {name for name in list(self._namespace) if not self._is_hidden(name)}
        for name in names:
            value = self._namespace[name]
            if type(value) is FunctionType and value.__globals__ is self._namespace:
                track_function(value)
        waiting = self._begin(names, touched)
        seen = _Seen(self._namespace)
        looked_at: set[str] = set()
        while waiting:
            for name in sorted(waiting):
                looked_at.add(name)
                self._unstorable.pop(name, None)
                reason = seen.look_at(name)
                value = self._namespace[name]
                self._looks[name] = _Look(id(value), type(value), seen.mentioned(name))
                if reason is not None:
                    self._unstorable[name] = reason
            waiting = self._connected(waiting, names) - looked_at
        self._store_groups(seen, blobs, looked_at)
        return Snapshot(self._all_stored(), dict(self._unstorable))

    def _begin(self, names: set[str], touched: Collection[str] | None) -> set[str]:
        """Return the names to look at: mentioned, new, bound to something else; forget those that are gone."""
        gone = [name for name in (*self._looks, *self._unstorable) if name not in names]
        first = names if touched is None else names.intersection(touched)
        first = first | {name for name in names if self._is_rebound(name)}
        for name in gone:
            first = first.union(self._mates(name) & names)
        first |= self._users_of_lost_definitions(names)
        first = self._connected(first, names)
        if any(name in self._unstorable for name in first):
            # What it does to others cannot be seen: a generator may append to a list.
            first = names
        for name in gone:
            self._forget(name)
        return {name for name in first if self._is_rebound(name) or self._looks[name].kind not in ATOMS}

    def _users_of_lost_definitions(self, names: set[str]) -> set[str]:
        """Return names by which the definitions are reached that names needed whose values are gone.

        In `counter.up(); counter = None` the class of the counter may have changed.
        """
        lost = {
            tracker
            for name, one in self._stored.items()
            if name not in names or self._is_rebound(name)
            for tracker in one.needs
        }
        found: set[str] = set()
        for name, one in self._stored.items() if lost else ():
            if name in names and not self._is_rebound(name) and not lost.isdisjoint(one.needs):
                found.add(name)
                lost.difference_update(one.needs)
        return found

    def _is_rebound(self, name: str) -> bool:
        look = self._looks.get(name)
        value = self._namespace[name]
        return look is None or look.identity != id(value) or look.kind is not type(value)

    def _mates(self, name: str) -> set[str]:
        """Return the names that share something with a name, also by way of a definition."""
        stored = self._stored.get(name)
        if stored is None:
            return set()
        found = set(stored.names)
        for tracker in stored.needs:
            found.update(self._stored_definitions[tracker].names)
        if stored.definitions:
            for other, one in self._stored.items():
                if not stored.definitions_are_apart_from(one):
                    found.add(other)
        return found

    def _connected(self, names: Iterable[str], all_names: set[str]) -> set[str]:
        """Return names with all that share something with them, or that functions among them mention."""
        found: set[str] = set()
        waiting = set(names)
        while waiting:
            name = waiting.pop()
            if name in found or name not in all_names:
                continue
            found.add(name)
            waiting |= self._mates(name)
            if name in self._looks:
                waiting |= self._looks[name].mentioned
        return found

    def _forget(self, name: str) -> None:
        self._looks.pop(name, None)
        self._unstorable.pop(name, None)
        self._stored.pop(name, None)

    def _remember(self, stored: StoredCovariable) -> None:
        self._stored.update(dict.fromkeys(stored.names, stored))
        self._stored_definitions.update(dict.fromkeys(stored.definitions, stored))

    # Storing.

    def _store_groups(self, seen: _Seen, blobs: BlobStore, looked_at: set[str]) -> None:
        for name in looked_at:
            if name not in seen.pickles:
                self._stored.pop(name, None)
        for names, trackers in seen.groups():
            try:
                encoded = seen.encoded(names, trackers)
            except USERS_ERRORS as error:
                text = f"{type(error).__name__}: {error}"
                self._unstorable.update(
                    {name: f"{name} cannot be pickled with {', '.join(names)}: {text}" for name in names}
                )
                continue
            self._store_group(names, trackers, encoded, seen, blobs)

    def _store_group(
        self, names: tuple[str, ...], trackers: tuple[str, ...], encoded: Encoded, seen: _Seen, blobs: BlobStore
    ) -> None:
        kind = type_name(self._namespace[names[0]]) if len(names) == 1 else ""
        before = self._stored.get(names[0]) if names else self._stored_definitions.get(trackers[0])
        if encoded.size > _INLINE_LIMIT:
            value = Value(encoded.size, kind, "", None, blobs.put(encoded))
        else:
            value = Value(encoded.size, kind, "", encoded.join())
        now = StoredCovariable(names, value, trackers, seen.needs(names, trackers))
        self._remember(before if before == now else now)

    def _all_stored(self) -> tuple[StoredCovariable, ...]:
        needed: dict[str, StoredCovariable] = {}
        waiting = [tracker for one in self._stored.values() for tracker in (*one.definitions, *one.needs)]
        while waiting:
            tracker = waiting.pop()
            one = self._stored_definitions.get(tracker)
            if one is not None and tracker not in needed:
                needed[tracker] = one
                waiting += [*one.definitions, *one.needs]
        self._stored_definitions = needed
        return tuple({id(one): one for one in (*self._stored.values(), *needed.values())}.values())


@contextmanager
def _no_collections() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class _Seen:
    """Pickles of names and classes, made one by one, and what they have in common."""

    def __init__(self, namespace: dict[str, Any]) -> None:
        self._namespace = namespace
        self.pickles: dict[str, Pickled] = {}
        self._definitions: dict[str, Any] = {}
        self._pickles_of_definitions: dict[str, Pickled] = {}

    def look_at(self, name: str) -> str | None:
        """Pickle the value of a name. Return the reason if it cannot be pickled."""
        value = marked({name: self._namespace[name]}, self._namespace)
        try:
            made = pickled(([], value), self._namespace, ())
            for tracker, definition in made.pickler.definitions.items():
                self._look_at_definition(tracker, definition)
        except USERS_ERRORS as error:
            return unpicklable_message(name, value[name], self._namespace, error)
        self.pickles[name] = made
        return None

    def _look_at_definition(self, tracker: str, definition: object) -> None:
        if tracker in self._pickles_of_definitions:
            return
        made = pickled(([definition], {}), self._namespace, (definition,))
        self._definitions[tracker] = definition
        self._pickles_of_definitions[tracker] = made
        for other, found in made.pickler.definitions.items():
            self._look_at_definition(other, found)

    def groups(self) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
        """Return the names, and ids of classes, that belong together."""
        if len(self.pickles) + len(self._definitions) == 1:
            return [(tuple(self.pickles), tuple(self._definitions))]
        by_name = {name: made.pickler for name, made in self.pickles.items()}
        by_class = {tracker: made.pickler for tracker, made in self._pickles_of_definitions.items()}
        return groups_of(
            {name: shared_objects(pickler) for name, pickler in by_name.items()},
            {tracker: shared_objects(pickler) for tracker, pickler in by_class.items()},
            {name: frozenset(pickler.definitions) for name, pickler in by_name.items()},
            {tracker: frozenset(pickler.definitions) for tracker, pickler in by_class.items()},
        )

    def mentioned(self, name: str) -> frozenset[str]:
        """Return the globals that functions in a value mention, also methods of its class."""
        if name not in self.pickles:
            return frozenset()
        picklers = [self.pickles[name].pickler]
        picklers += [self._pickles_of_definitions[tracker].pickler for tracker in self.needs((name,), ())]
        return frozenset().union(*(pickler.mentioned for pickler in picklers))

    def needs(self, names: tuple[str, ...], trackers: tuple[str, ...]) -> tuple[str, ...]:
        """Return the ids of the classes that values and classes refer to, directly or not."""
        found: dict[str, None] = {}
        waiting = [*trackers]
        for name in names:
            waiting += self.pickles[name].pickler.definitions
        while waiting:
            tracker = waiting.pop(0)
            if tracker not in found:
                found[tracker] = None
                waiting += self._pickles_of_definitions[tracker].pickler.definitions
        return tuple(tracker for tracker in found if tracker not in trackers)

    def encoded(self, names: tuple[str, ...], trackers: tuple[str, ...]) -> Encoded:
        """Serialize names and classes together."""
        if len(names) + len(trackers) == 1:
            one = self.pickles[names[0]] if names else self._pickles_of_definitions[trackers[0]]
            return pack(one.frames)
        definitions = [self._definitions[tracker] for tracker in trackers]
        values = marked({name: self._namespace[name] for name in names}, self._namespace)
        return pack(pickled((definitions, values), self._namespace, definitions).frames)


def restore(
    snapshot: Snapshot,
    blobs: BlobStore,
    namespace: dict[str, Any],
    names: Collection[str] | None = None,
) -> tuple[str, ...]:
    """Load names of a snapshot into a namespace, all or some, with those that share objects with them.

    Returns
    -------
    tuple
        The names that were loaded.
    """
    wanted = None if names is None else set(names)
    loading = _Loading(snapshot, blobs, namespace)
    for one in snapshot.covariables:
        if wanted is None or wanted.intersection(one.names):
            loading.load(one)
    namespace.update(loading.values)
    return tuple(loading.values)


class _Loading:
    """Loading of co-variables, and of the classes that they refer to."""

    def __init__(self, snapshot: Snapshot, blobs: BlobStore, namespace: dict[str, Any]) -> None:
        self._blobs = blobs
        self._namespace = namespace
        self._by_definition = {tracker: one for one in snapshot.covariables for tracker in one.definitions}
        self._begun: set[int] = set()
        self._kept: list[Any] = []  # until what refers to them is loaded
        self.values: dict[str, Any] = {}

    def load(self, one: StoredCovariable) -> None:
        """Load a co-variable, once."""
        if id(one) in self._begun:
            return
        self._begun.add(id(one))
        what = f"the variable {', '.join(one.names)}" if one.names else "a definition of the notebook"
        data = one.value.data if one.value.digest is None else self._blobs.read(one.value.digest)
        frames, _ = frames_of(data or b"", what=what)
        unpickler = NamespaceUnpickler(io.BytesIO(frames[0]), self._namespace, frames[1:], self._definition_with)
        try:
            definitions, values = unpickler.load()
            self._kept.append(definitions)
        except USERS_ERRORS as error:
            text = f"{what} cannot be opened here: {type(error).__name__}: {error}"
            raise SerializationError(text) from error
        self.values.update({name: value for name, value in values.items() if name in one.names})

    def _definition_with(self, tracker: str) -> object:
        stored = self._by_definition.get(tracker)
        if stored is not None:
            self.load(stored)
        found = tracked_definition(tracker)
        if found is None:
            text = "a class or function of the notebook that it needs was not stored"
            raise SerializationError(text)
        return found
