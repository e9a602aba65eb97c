"""Co-variables: names whose objects share an object that can change, stored together after each cell.

Only what a cell can have changed is looked at: the names that it mentions, those that share something with them, and
those that functions among them mention. All of these are pickled one by one; what the picklers met says which names
belong together. A class or a named function of the notebook is stored by itself: values refer to it by its id, so that
it is one object, with the attributes of now, however old the pickle of a value is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import FunctionType
from typing import Any, Final, NamedTuple

import msgspec

from covalab.blobs import BlobStore
from covalab.core.codec import USERS_ERRORS, Encoded, digest_of, inline_value, type_name
from covalab.core.errors import CovalabError
from covalab.core.model import Digest, Value
from covalab.core.plain_types import ATOMS
from covalab.namespace.definitions import track_function
from covalab.namespace.live_objects import no_collections
from covalab.namespace.part_pickles import PartPickles
from covalab.namespace.snapshots import Snapshot, StoredCovariable, is_hidden, restore

__all__ = ["Snapshot", "StoredCovariable", "Tracker", "is_hidden", "restore"]

_INLINE_LIMIT: Final = 4 * 1024
"""Larger ones are blobs: each snapshot has all that is inline, and is stored once for each cell."""

_WORTH_A_THREAD: Final = 4 * 1024 * 1024
_WRITERS: Final = 2


class _Look(msgspec.Struct):
    """Name or class, as it was when it was last looked at."""

    identity: int
    kind: type
    mentioned: frozenset[str] = frozenset()
    modules: frozenset[str] = frozenset()


class Mentioned(msgspec.Struct, frozen=True, array_like=True):
    """Mentions of values: globals of the notebook, and modules, in their code and that of their classes."""

    names: list[str] = []
    modules: list[str] = []


class _Large(NamedTuple):
    """A group that is pickled and not yet stored, and what is stored of it."""

    names: tuple[str, ...]
    trackers: tuple[str, ...]
    needs: tuple[str, ...]
    kind: str
    before: StoredCovariable | None
    encoded: Encoded


class Tracker:
    """Tracker of what a namespace has stored, and of what changed since."""

    def __init__(self, namespace: dict[str, Any], is_hidden: Callable[[str], bool] = is_hidden) -> None:
        self._namespace = namespace
        self._is_hidden = is_hidden
        self._looks: dict[str, _Look] = {}
        self._stored: dict[str, StoredCovariable] = {}
        self._stored_definitions: dict[str, StoredCovariable] = {}
        self._unstorable: dict[str, str] = {}
        self._adopted: set[StoredCovariable] = set()

    def connected(self, names: Iterable[str]) -> set[str]:
        """Return names with all that share something with them, or that code in their values mentions."""
        return self._connected(names, {name for name in list(self._namespace) if not self._is_hidden(name)})

    def mentioned(self, name: str) -> Mentioned:
        """Return what the value of a name mentions."""
        look = self._looks.get(name)
        return Mentioned() if look is None else Mentioned(sorted(look.mentioned), sorted(look.modules))

    def stored(self) -> tuple[StoredCovariable, ...]:
        """Return what is stored."""
        return self._all_stored()

    def adopt(self, stored: Iterable[StoredCovariable], mentioned: Mapping[str, Mentioned]) -> None:
        """Take values that were loaded for what is stored: they have not changed since."""
        for one in stored:
            self._remember(one)
            if not one.definitions and not one.needs:
                self._adopted.add(one)
            for name in one.names:
                value, its = self._namespace.get(name), mentioned.get(name, Mentioned())
                self._looks[name] = _Look(id(value), type(value), frozenset(its.names), frozenset(its.modules))

    def drop(self, names: Iterable[str]) -> None:
        """Forget names that are gone, and need no look at what they shared."""
        for name in names:
            self._forget(name)

    def store(self, blobs: BlobStore, touched: Collection[str] | None = None) -> Snapshot:
        """Store what may have changed, and return all names.

        Parameters
        ----------
        blobs
            The place for large values.
        touched
            The names that a cell mentions, in any way; None if that is not known.
        """
        with no_collections():
            return self._store(blobs, touched)

    def _store(self, blobs: BlobStore, touched: Collection[str] | None) -> Snapshot:
        names = {name for name in list(self._namespace) if not self._is_hidden(name)}
        for name in names:
            value = self._namespace[name]
            if type(value) is FunctionType and value.__globals__ is self._namespace:
                track_function(value)
        waiting = self._begin(names, touched)
        seen = PartPickles(self._namespace)
        looked_at: set[str] = set()
        while waiting:
            for name in sorted(waiting):
                looked_at.add(name)
                known = self._unstorable.pop(name, None)
                reason = seen.look_at(name, None if self._is_rebound(name) else known)
                value = self._namespace[name]
                self._looks[name] = _Look(id(value), type(value), seen.mentioned(name), seen.modules(name))
                if reason is not None:
                    self._unstorable[name] = reason
            waiting = self._connected(waiting, names) - looked_at
        for name, others in seen.no_longer_shared().items():
            text = f"{', '.join(others)} shared objects with it, and when they are loaded they no longer do"
            self._unstorable[name] = f"{self._unstorable[name]}; {text}"
        stored = self._stored_definitions
        seen.look_at_mates(lambda tracker: stored[tracker].definitions if tracker in stored else ())
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

    def _store_groups(self, seen: PartPickles, blobs: BlobStore, looked_at: set[str]) -> None:
        for name in looked_at:
            if name not in seen.pickles:
                self._stored.pop(name, None)
        large: list[_Large] = []
        for names, trackers in seen.groups():
            try:
                encoded = seen.encoded(names, trackers)
            except USERS_ERRORS as error:
                text = f"{type(error).__name__}: {error}"
                self._unstorable.update(
                    {name: f"{name} cannot be pickled with {', '.join(names)}: {text}" for name in names}
                )
                continue
            group = self._store_group(names, trackers, encoded, seen, blobs)
            if group is not None:
                large.append(group)
        for one, digest in zip(large, _put_all([one.encoded for one in large], blobs), strict=True):
            self._remember_stored(one, Value(one.encoded.size, one.kind, "", None, digest))

    def _store_group(
        self, names: tuple[str, ...], trackers: tuple[str, ...], encoded: Encoded, seen: PartPickles, blobs: BlobStore
    ) -> _Large | None:
        """Store a group; return it if it is for the disk."""
        kind = type_name(self._namespace[names[0]]) if len(names) == 1 else ""
        before = self._stored.get(names[0]) if names else self._stored_definitions.get(trackers[0])
        if before in self._adopted and before.names == names and _is_as_loaded(before, encoded, blobs):
            self._remember(before)
            return None
        group = _Large(names, trackers, seen.needs(names, trackers), kind, before, encoded)
        if encoded.size > _INLINE_LIMIT:
            return group
        self._remember_stored(group, inline_value(encoded.join(), kind))
        return None

    def _remember_stored(self, group: _Large, value: Value) -> None:
        now = StoredCovariable(group.names, value, group.trackers, group.needs)
        self._remember(group.before if group.before == now else now)

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


def _put_all(parts: Sequence[Encoded], blobs: BlobStore) -> list[Digest]:
    """Write blobs: one is digested while another is on its way to the disk, if they are worth a thread."""
    if len(parts) < 2 or sum(part.size for part in parts) < _WORTH_A_THREAD:
        return [blobs.put(part) for part in parts]
    with ThreadPoolExecutor(_WRITERS, thread_name_prefix="covalab-store") as pool:
        return list(pool.map(blobs.put, parts))


def _is_as_loaded(stored: StoredCovariable, encoded: Encoded, blobs: BlobStore) -> bool:
    """Return whether a pickle is that of values which were loaded and are unchanged.

    Some objects are pickled in another way once they were loaded (what was two texts is one), and then always so.
    """
    if stored.definitions:  # to load them would give those that are here the attributes of then
        return False
    again: dict[str, Any] = {}
    try:
        restore(Snapshot((stored,)), blobs, again)
        parts = PartPickles(again)
        for name in stored.names:
            if parts.look_at(name) is not None:
                return False
        return digest_of(parts.encoded(stored.names, ()).pieces) == digest_of(encoded.pieces)
    except (*USERS_ERRORS, CovalabError):
        return False
