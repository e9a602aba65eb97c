"""Knowledge about names at one point of a block: which have a value, which are read from outside, which are deleted.

Pure. `dataflow` walks over the statements and records here what each does to names; it also decides where branches
part and join. This module knows nothing of syntax.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, get_args

import msgspec

from covalab.jupyter.cells.mutation import PossibleChange
from covalab.jupyter.cells.scopes import FreeNames

BindingKind = Literal["data", "target", "definition", "import"]
"""How a name was set: as data, by a loop, `with` or `except`, by `def` or `class`, by an import."""

_STRENGTH: Final = {kind: rank for rank, kind in enumerate(reversed(get_args(BindingKind)))}
"""Rank of the kinds: a name that is set in two ways counts as the stronger kind, data before anything else."""

_DELETED: Final = "~"
"""Prefix of a name that is surely deleted. No Python name begins with it."""


class Binding(msgspec.Struct, frozen=True):
    """A name that the block sets. `sure`: it has a value whenever the block ends normally; `likely`: if loops run."""

    kind: BindingKind
    sure: bool
    line: int
    likely: bool = False


class Scope(msgspec.Struct, frozen=True):
    """Names that a block reads, sets, changes and deletes.

    `reads` are those that may be read before the block has set them, in order of first use, with the line; those in
    `unsure` only on some ways through the block (an earlier iteration of a loop, another branch, may have set them).
    `reads_after_empty` are read only when a loop before turns out to have nothing to do. `changes` are names from
    outside whose item or attribute is set or deleted; `deleted` are names that are deleted at the end. `deferred` are
    reads of functions that the block defines and does not call itself: the cells that call them need those names.
    """

    reads: dict[str, int]
    unsure: frozenset[str]
    bindings: dict[str, Binding]
    changes: dict[str, int]
    possible: tuple[PossibleChange, ...]
    deleted: frozenset[str]
    imports: dict[str, tuple[str, ...]]
    is_async: bool
    reads_after_empty: dict[str, int] = {}
    deferred: frozenset[str] = frozenset()


class DeferredBody(msgspec.Struct, frozen=True):
    """Effects of the body of a function: they happen when it is called, not before its name is first used."""

    free: FreeNames
    changes: tuple[tuple[str, int], ...]
    possible: tuple[PossibleChange, ...]
    line: int


class NameState:
    """Names at one point of a block, and everything that was recorded on the way to it.

    `sure` are the names that have a value on every way to this point; None where control never arrives (after `raise`
    or `break`). A name that is surely deleted is in it too, marked by `_DELETED`: then "surely set" and "surely
    deleted" are joined by the same intersection. `maybe` are the names that may have a value.
    """

    def __init__(self) -> None:
        self.sure: set[str] | None = set()
        self.maybe: set[str] = set()
        self.reads: dict[str, int] = {}
        self.changes: dict[str, int] = {}
        self.possible: list[PossibleChange] = []
        self.is_async = False
        self._unsure: set[str] = set()
        self._bound: dict[str, tuple[BindingKind, int]] = {}
        self._imports: dict[str, list[str]] = {}
        self._deferred: dict[str, list[DeferredBody]] = {}
        self._aliases: dict[str, frozenset[str]] = {}

    def result(self) -> Scope:
        """Return what was recorded. Functions that the block did not call may be called by the cells that get them."""
        read_before = self.reads.keys() - self._unsure
        for name in list(self._deferred):
            self._run_deferred(name, 0)
        sure = self.sure or set()
        deleted = frozenset(name.removeprefix(_DELETED) for name in sure if name.startswith(_DELETED))
        bindings = {
            name: Binding(kind, name in sure, line) for name, (kind, line) in self._bound.items() if name not in deleted
        }
        return Scope(
            reads=self.reads,
            unsure=frozenset(self._unsure),
            bindings=bindings,
            changes=self.changes,
            possible=tuple(self.possible),
            deleted=deleted,
            imports={name: tuple(statements) for name, statements in self._imports.items()},
            is_async=self.is_async,
            deferred=frozenset(self.reads.keys() - read_before - self._unsure),
        )

    # Effects of a statement

    def read(self, name: str, line: int) -> None:
        """Record that a name is read. It comes from outside unless it surely has a value."""
        # The first use of a function's name may be a call, and then its body runs before anything else.
        self._run_deferred(name, line)
        if self.sure is None or name in self.sure:
            return
        if name in self.maybe:
            # Once needed for sure, a name stays needed, whatever later reads are.
            if name not in self.reads:
                self._unsure.add(name)
        else:
            self._unsure.discard(name)
        self.reads.setdefault(name, line)

    def bind(self, name: str, kind: BindingKind, line: int) -> None:
        """Record that a name is set."""
        known = self._bound.get(name)
        if known is None or _STRENGTH[kind] > _STRENGTH[known[0]]:
            self._bound[name] = (kind, known[1] if known else line)
        self.maybe.add(name)
        if self.sure is not None:
            self.sure.add(name)
            self.sure.discard(_DELETED + name)
        self._aliases.pop(name, None)  # a new value is no part of what the old one was part of
        if kind != "import":
            self._imports.pop(name, None)

    def unbind(self, name: str) -> None:
        """Record that a name is deleted."""
        if self.sure is not None:
            self.sure.discard(name)
            self.sure.add(_DELETED + name)

    def drop(self, name: str) -> None:
        """Record that Python itself removes a name, which is no deletion that the user meant."""
        if self.sure is not None:
            self.sure.discard(name)

    def is_bound(self, name: str) -> bool:
        """Return whether the block sets the name anywhere so far."""
        return name in self._bound

    def change(self, name: str, line: int) -> None:
        """Record that an item or attribute of the value is set or deleted."""
        for root in self.roots(name):
            if root not in self._bound:  # a value that the block made itself is no input
                self.changes.setdefault(root, line)

    def may_change(self, name: str, call: str, line: int) -> None:
        """Record a call that may change the value in place."""
        for root in self.roots(name):
            if root not in self._bound:
                self.possible.append(PossibleChange(root, call, line))

    def bind_import(self, name: str, line: int, statement: str, *, always: bool, adds: bool) -> None:
        """Record an import. It can be repeated in other cells if it `always` runs and the name is nothing else.

        `adds`: the statement loads a submodule (`import a.b`), so that earlier ones of the package are needed too.
        """
        only_imported = self._bound.get(name, ("import", 0))[0] == "import"
        earlier = self._imports.get(name, []) if adds else []
        self.bind(name, "import", line)
        if always and only_imported:
            self._imports[name] = [*earlier, statement]
        else:
            self._imports.pop(name, None)

    def defer(self, name: str, bodies: list[DeferredBody]) -> None:
        """Record bodies that run when the name is used."""
        self._deferred[name] = bodies

    def take_deferred(self, name: str) -> list[DeferredBody]:
        """Remove and return the bodies that were deferred to the use of a name."""
        return self._deferred.pop(name, [])

    def _run_deferred(self, name: str, line: int) -> None:
        for body in self._deferred.pop(name, ()):
            for read in sorted(body.free.reads):
                self.read(read, line or body.line)
            for changed, at in body.changes:
                self.change(changed, at)
            for possible in body.possible:
                self.may_change(possible.name, possible.call, possible.line)
            for target in sorted(body.free.sets):
                before = self.copy()
                self.bind(target, "data", body.line)
                self.sure = before  # whether the function was really called is not known

    # Aliases: loop variables and second names are parts of other values, so that changing them changes those

    def alias(self, name: str, roots: frozenset[str]) -> None:
        """Record that the value of a name is part of the values of other names."""
        self._aliases[name] = roots

    def roots(self, name: str) -> frozenset[str]:
        """Return the names whose values change when the value of this one changes."""
        return self._aliases.get(name, frozenset()) | {name}

    # Branches

    def copy(self) -> set[str] | None:
        """Return a copy of `sure`, to begin another branch with."""
        return None if self.sure is None else set(self.sure)

    def join(self, branches: Sequence[set[str] | None]) -> None:
        """Go on where branches meet: sure is what is sure on each that arrives."""
        arriving = [branch for branch in branches if branch is not None]
        self.sure = set.intersection(*arriving) if arriving else None

    def leave_finally(self, after_try: set[str] | None, entered_with: set[str]) -> None:
        """Go on after `finally`: what `try` did holds again, plus what `finally` itself has set and deleted.

        `finally` was followed with less (`entered_with`), because it also runs when something failed. Code after it is
        reached only when nothing failed.
        """
        if after_try is None or self.sure is None:
            self.sure = None
            return
        done, undone = self.sure - entered_with, entered_with - self.sure
        self.sure = (after_try - undone - {_opposite(name) for name in done}) | done


def _opposite(name: str) -> str:
    """Return the mark of deletion for a name, and the name for its mark."""
    return name.removeprefix(_DELETED) if name.startswith(_DELETED) else _DELETED + name
