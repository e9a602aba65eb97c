"""Snapshot: all names of a namespace after a cell, as they are stored, and how they are loaded again."""

from __future__ import annotations

import io
import re
from collections.abc import Collection, Iterable
from typing import Any, Final

import msgspec

from covalab.blobs import BlobStore
from covalab.core.codec import USERS_ERRORS, frames_of
from covalab.core.errors import SerializationError
from covalab.core.model import Digest, Value
from covalab.namespace.definitions import tracked_definition
from covalab.namespace.pickling import NamespaceUnpickler

_HIDDEN: Final = re.compile(
    r"__(?:name|doc|package|loader|spec|builtins?|file|cached|path|annotations|warningregistry|session|covalab\w*|vsc\w*)__"
    r"|_i+|_[ido]h|_i?\d+|_+|In|Out|exit|quit|get_ipython"
)


def is_hidden(name: str) -> bool:
    """Return whether a name of a kernel's namespace is not the notebook's.

    Examples
    --------
    >>> names = "x", "_x", "__version__", "__name__", "__", "_i3", "_12", "In", "get_ipython"
    >>> [name for name in names if not is_hidden(name)]
    ['x', '_x', '__version__']
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


class LoadedDefinitions:
    """Definitions of a snapshot that a namespace has: what is loaded later refers to these, as they are by then."""

    def __init__(self) -> None:
        self._kept: dict[int, tuple[StoredCovariable, Any]] = {}

    def add(self, stored: StoredCovariable, definitions: Any) -> None:
        """Keep definitions."""
        self._kept[id(stored)] = stored, definitions

    def __contains__(self, stored: StoredCovariable) -> bool:
        return id(stored) in self._kept


def restore(
    snapshot: Snapshot,
    blobs: BlobStore,
    namespace: dict[str, Any],
    names: Collection[str] | None = None,
    definitions: LoadedDefinitions | None = None,
) -> tuple[str, ...]:
    """Load names of a snapshot into a namespace, all or some, with those that share objects with them.

    With `definitions`, those that were loaded for other names of the snapshot are not loaded again.

    Returns
    -------
    tuple
        The names that were loaded.
    """
    wanted = None if names is None else set(names)
    loading = _Loading(snapshot, blobs, namespace, LoadedDefinitions() if definitions is None else definitions)
    for one in loading.without_failure(
        [one for one in snapshot.covariables if wanted is None or wanted & {*one.names}]
    ):
        # Its own code may need the functions of others.
        loading.without_failure(snapshot.covariables)
        namespace.update(loading.values)
        loading.load(one)
    namespace.update(loading.values)
    return tuple(loading.values)


class _Loading:
    """Loading of co-variables, and of the classes that they refer to."""

    def __init__(
        self, snapshot: Snapshot, blobs: BlobStore, namespace: dict[str, Any], definitions: LoadedDefinitions
    ) -> None:
        self._blobs = blobs
        self._namespace = namespace
        self._by_definition = {tracker: one for one in snapshot.covariables for tracker in one.definitions}
        self._begun: set[int] = set()
        self._definitions = definitions
        self._kept: list[Any] = []  # until what refers to them is loaded
        self.values: dict[str, Any] = {}

    def without_failure(self, some: Iterable[StoredCovariable]) -> list[StoredCovariable]:
        """Load co-variables, and return those that cannot be opened."""
        failed = []
        for one in some:
            try:
                self.load(one)
            except SerializationError:
                self._begun.discard(id(one))
                failed.append(one)
        return failed

    def load(self, one: StoredCovariable) -> None:
        """Load a co-variable, once."""
        if id(one) in self._begun or one in self._definitions:
            return
        self._begun.add(id(one))
        what = f"the variable {', '.join(one.names)}" if one.names else "a definition of the notebook"
        frames, _ = frames_of(self._blobs.content(one.value, what), what=what)
        unpickler = NamespaceUnpickler(io.BytesIO(frames[0]), self._namespace, frames[1:], self._definition_with)
        try:
            definitions, values = unpickler.load()
            self._kept.append(definitions)
            if not one.names:
                self._definitions.add(one, definitions)
        except USERS_ERRORS as error:
            self._begun.discard(id(one))
            text = f"{what} cannot be opened here: {type(error).__name__}: {error}"
            raise SerializationError(text) from error
        self.values.update({name: value for name, value in values.items() if name in one.names})

    def _definition_with(self, tracker: str) -> object:
        stored = self._by_definition.get(tracker)
        if stored is not None:
            self.load(stored)
        found = tracked_definition(tracker, self._namespace)
        if found is None:
            text = "a class or function of the notebook that it needs was not stored"
            raise SerializationError(text)
        return found
