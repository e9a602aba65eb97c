"""Pickles of the parts of a namespace, names and definitions, made one by one, and what they have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

from covalab.core.codec import USERS_ERRORS, Encoded, pack
from covalab.namespace.definitions import tracked_definition
from covalab.namespace.grouping import groups_of
from covalab.namespace.pickling import Pickled, Recorder, marked, pickled, recorded, unpicklable_message
from covalab.namespace.sharing import shared_objects


class PartPickles:
    """Pickles of names and classes, made one by one, and what they have in common."""

    def __init__(self, namespace: dict[str, Any]) -> None:
        self._namespace = namespace
        self.pickles: dict[str, Pickled] = {}
        self._definitions: dict[str, Any] = {}
        self._failed: dict[str, Recorder] = {}
        self._pickles_of_definitions: dict[str, Pickled] = {}

    def look_at(self, name: str, known_reason: str | None = None) -> str | None:
        """Pickle the value of a name. Return the reason if it cannot be pickled, the known one if there is any."""
        value = marked({name: self._namespace[name]}, self._namespace)
        try:
            made = pickled(([], value), self._namespace, ())
            for tracker, definition in made.pickler.definitions.items():
                self._look_at_definition(tracker, definition)
        except USERS_ERRORS as error:
            if known_reason is not None:  # the search for what is to blame may take a second
                return known_reason
            self._failed[name] = recorder = recorded(value[name], self._namespace)
            return unpicklable_message(name, value[name], error, recorder)
        self.pickles[name] = made
        return None

    def _look_at_definition(self, tracker: str, definition: object) -> None:
        """Pickle a definition and those that it refers to, directly or not: all of them, or none counts."""
        made: dict[str, Pickled] = {}
        definitions: dict[str, Any] = {}
        waiting = [(tracker, definition)]
        while waiting:
            tracker, definition = waiting.pop()
            if tracker not in self._pickles_of_definitions and tracker not in made:
                made[tracker] = pickled(([definition], {}), self._namespace, (definition,))
                definitions[tracker] = definition
                waiting += made[tracker].pickler.definitions.items()
        self._definitions.update(definitions)
        self._pickles_of_definitions.update(made)

    def look_at_mates(self, stored_with: Callable[[str], Iterable[str]]) -> None:
        """Look also at the definitions that were stored with those which were looked at.

        A class may go into another group now, and what is left of the former one would keep it as it was.
        """
        waiting = [*self._definitions]
        while waiting:
            for tracker in stored_with(waiting.pop()):
                definition = None if tracker in self._definitions else tracked_definition(tracker, self._namespace)
                if definition is not None:
                    with suppress(*USERS_ERRORS):
                        self._look_at_definition(tracker, definition)
                        waiting.append(tracker)

    def groups(self) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
        """Return the names, and ids of classes, that belong together."""
        if len(self.pickles) + len(self._definitions) == 1:
            return [(tuple(self.pickles), tuple(self._definitions))]
        by_name = {name: made.pickler for name, made in self.pickles.items()}
        by_class = {tracker: made.pickler for tracker, made in self._pickles_of_definitions.items()}
        objects = {name: shared_objects(pickler) for name, pickler in by_name.items()}
        of_classes = {tracker: shared_objects(pickler) for tracker, pickler in by_class.items()}
        in_arrays = frozenset().union(*objects.values(), *of_classes.values())
        return groups_of(
            # A table is with the arrays that share the memory of its values, and not with tables that do.
            {name: found | (in_arrays & by_name[name].arrays.blocks.keys()) for name, found in objects.items()},
            of_classes,
            {name: frozenset(pickler.definitions) for name, pickler in by_name.items()},
            {tracker: frozenset(pickler.definitions) for tracker, pickler in by_class.items()},
        )

    def no_longer_shared(self) -> dict[str, list[str]]:
        """Return for names that cannot be pickled the others that have objects in common with them."""
        found: dict[str, list[str]] = {}
        for name, recorder in self._failed.items():
            met = shared_objects(recorder)
            others = [other for other, one in self.pickles.items() if met & shared_objects(one.pickler)]
            if others:
                found[name] = sorted(others)
        return found

    def mentioned(self, name: str) -> frozenset[str]:
        """Return the globals that functions in a value mention, also methods of its class."""
        if name not in self.pickles:
            return frozenset()
        picklers = [self.pickles[name].pickler]
        picklers += [self._pickles_of_definitions[tracker].pickler for tracker in self.needs((name,), ())]
        return frozenset().union(*(pickler.mentioned for pickler in picklers))

    def modules(self, name: str) -> frozenset[str]:
        """Return the modules of the types, classes and functions in a value, also of those in its class."""
        if name not in self.pickles:
            return frozenset()
        picklers = [self.pickles[name].pickler]
        picklers += [self._pickles_of_definitions[tracker].pickler for tracker in self.needs((name,), ())]
        return frozenset().union(*(pickler.modules for pickler in picklers))

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
