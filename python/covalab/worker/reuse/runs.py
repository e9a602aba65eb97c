"""Runs of cells, as the index keeps them: what a cell depended on when it ran, and what became of the session by it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from covalab.core.codec import digest_of
from covalab.core.model import Value
from covalab.namespace.covariables import Mentioned, Snapshot, StoredCovariable
from covalab.worker.reuse.surroundings import Surroundings, change

FORMAT: Final = 2
"""Raise it when a run of an earlier version must not be used any more."""


class CellRun(msgspec.Struct, frozen=True):
    """A run of a cell.

    Attributes
    ----------
    dispatch, node, seconds, filename
        Where it ran, how long it took, and what tracebacks call it.
    inputs
        What it could read: names, with the digest of how they are stored.
    absent
        Words in its code that were no names.
    everything
        The digest of all names, if it could read any.
    parts, states
        Digests of settings and random generators, and of the data of local modules, before it.
    world
        The digest of what cells before it have done to the process that nobody sees.
    surroundings
        Files, variables, packages and modules.
    covariables, gone, mentioned
        What it made or changed, the names that it deleted, and what code in those values mentions.
    hidden, parts_after, states_after
        What it changed of the hidden state, and digests of it afterwards.
    imported, sticky
        The modules that it loaded, and the variables that these read.
    outputs
        JSON of what it displayed.
    order
        The names that it made, as the namespace has them.
    """

    dispatch: str
    node: int
    seconds: float
    filename: str
    inputs: dict[str, str]
    absent: list[str]
    everything: str
    parts: dict[str, str]
    states: dict[str, str]
    world: str
    surroundings: Surroundings
    covariables: list[StoredCovariable]
    gone: list[str]
    mentioned: dict[str, Mentioned]
    hidden: bytes
    parts_after: dict[str, str]
    states_after: dict[str, str]
    imported: list[str]
    sticky: list[str]
    sources: dict[str, str]
    has_value: bool
    value_name: str
    outputs: Value = Value(0, "")
    order: list[str] = []


class Virtual(msgspec.Struct):
    """State of a session beside its names, as it is after its last cell, whether that ran here or not.

    `held` are names whose objects a package may have kept, so that any cell may change them without naming them.
    """

    parts: dict[str, str] = {}
    states: dict[str, str] = {}
    world: str = ""
    sticky: list[str] = []
    held: list[str] = []


def label_of(one: StoredCovariable) -> str:
    """Return what a co-variable is called for people; of definitions without a name their ids."""
    return ", ".join(one.names) or ", ".join(one.definitions)


def digest_of_covariable(one: StoredCovariable) -> str:
    """Return the digest of a co-variable: its names, its bytes, and the definitions that it refers to."""
    return digest_of([msgspec.msgpack.encode(one)])


def digest_of_all(digests: Iterable[str]) -> str:
    """Return one digest for many, in any order."""
    return digest_of([one.encode() for one in sorted(digests)])


def obstacle(run: CellRun, snapshot: Snapshot, digests: Mapping[str, str], virtual: Virtual, filename: str) -> str:
    """Return why a run cannot stand for another one now, for people; nothing if it can.

    `digests` are those of the co-variables of the snapshot, by label.
    """
    text = (
        _changed_names(run, snapshot, digests)
        or _changed_state(run, virtual)
        or change(run.surroundings)
        or _missing_definitions(run, snapshot)
    )
    if not text and run.filename != filename and any(one.definitions for one in run.covariables):
        return "it has another name, which tracebacks of its functions show"
    return text


def _changed_names(run: CellRun, snapshot: Snapshot, digests: Mapping[str, str]) -> str:
    for label, digest in run.inputs.items():
        if label not in digests:
            return f"{_shown(label)} is shared with other names, or gone"
        if digests[label] != digest:
            return f"{_shown(label)} has another value"
    names = {*snapshot.names, *snapshot.unstorable}
    new = names.intersection(run.absent)
    if new:
        return f"{', '.join(sorted(new))} was no name then"
    if run.everything and (snapshot.unstorable or digest_of_all(digests.values()) != run.everything):
        return "it may read any name, and they have other values"
    touched = {name for one in run.covariables for name in one.names} | {*run.gone}
    for one in snapshot.covariables:
        if label_of(one) not in run.inputs and not touched.isdisjoint(one.names):
            return f"{_shown(label_of(one))} was no name then"
    return ""


def _shown(label: str) -> str:
    return "a function or class" if len(label) >= 32 and label.replace(", ", "").isalnum() else label


def _changed_state(run: CellRun, virtual: Virtual) -> str:
    for part, digest in run.parts.items():
        if virtual.parts.get(part, "") != digest:
            return _PARTS.get(part, f"settings of {part} are others")
    for name, digest in run.states.items():
        if virtual.states.get(name, "") != digest:
            return f"the module {name} has other data"
    if run.world != virtual.world:
        return "a cell before it, which may have changed the state of a package, is another one"
    return ""


_PARTS: Final = {
    **{name: f"the random numbers of {name} begin elsewhere" for name in ("random", "numpy.random", "torch")},
    "process": "the folder, search path or locale is another one",
    "filters": "filters of warnings are others",
    "logging": "levels of loggers are others",
}


def _missing_definitions(run: CellRun, snapshot: Snapshot) -> str:
    there = {tracker for one in (*snapshot.covariables, *run.covariables) for tracker in one.definitions}
    if any(not there.issuperset(one.needs) for one in run.covariables):
        return "a function or class that its values refer to was made anew"
    return ""
