"""Archive of a dispatch: what is in the file by which one goes to another data folder, and what must be true of it.

A ZIP file without compression, so that nothing in it can grow: `manifest.json`, one entry for each dispatch (the
outermost, and all below it), one for each large value. Entries are found by the manifest alone; no name is a path.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

from covalab.core.errors import ArchiveDamaged
from covalab.core.journal import Entry
from covalab.core.lifecycle import TERMINAL
from covalab.core.model import Attempt, Digest, DispatchId, DispatchSummary, NodeState, Outcome, Submission
from covalab.core.validation import validate_graph

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
LARGEST_MANIFEST: Final = 64 * 1024**2
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


class JournalRow(msgspec.Struct, frozen=True, array_like=True):
    """An entry of the journal of a dispatch, and whether it is part of its stream."""

    version: int
    is_streamed: bool
    entry: Entry


class ArchivedDispatch(msgspec.Struct, frozen=True):
    """All rows of a dispatch that has ended."""

    summary: DispatchSummary
    submission: Submission
    states: list[NodeState]
    outcomes: list[Outcome]
    attempts: list[Attempt]
    journal: list[JournalRow]
    blobs: list[Digest]


class Part(msgspec.Struct, frozen=True):
    """Entry of an archive: size and digest."""

    size: int
    digest: str


class Manifest(msgspec.Struct, frozen=True):
    """Table of contents: dispatches by id, the outermost first, sizes of large values, and values that were lost."""

    format: int
    covalab: str
    dispatches: dict[DispatchId, Part]
    blobs: dict[Digest, int]
    missing: list[Digest] = []


class ZipEntry(NamedTuple):
    """Entry of a ZIP file, as its directory has it."""

    name: str
    size: int
    is_plain: bool


def dispatch_entry(number: int) -> str:
    """Return the name of the entry of a dispatch."""
    return f"dispatches/{number}"


def blob_entry(digest: Digest) -> str:
    """Return the name of the entry of a large value."""
    return f"blobs/{digest}"


def check_entries(entries: Iterable[ZipEntry], file_size: int) -> dict[str, int]:
    """Return the sizes of entries by name; refuse what could grow, or is there twice.

    Raises
    ------
    ArchiveDamaged
        If the file is none of ours.
    """
    sizes: dict[str, int] = {}
    for name, size, is_plain in entries:
        if name in sizes or not is_plain:
            message = f"entry {name[:100]!a} is there twice, packed or encrypted, which covalab never writes"
            raise ArchiveDamaged(message)
        sizes[name] = size
    if sum(sizes.values()) > file_size or not 0 < sizes.get(MANIFEST, 0) <= LARGEST_MANIFEST:
        message = "its directory does not fit its size, or it has no manifest"
        raise ArchiveDamaged(message)
    return sizes


def read_manifest(data: bytes, sizes: Mapping[str, int]) -> Manifest:
    """Decode a manifest and compare it with the entries that are there.

    Raises
    ------
    ArchiveDamaged
        If it is none, of a later version, or speaks of other entries.
    """
    try:
        manifest = msgspec.json.decode(data, type=Manifest)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        message = f"its manifest cannot be read: {error}"
        raise ArchiveDamaged(message) from error
    if manifest.format != FORMAT:
        message = f"it has format {manifest.format}, this covalab reads format {FORMAT}; upgrade covalab here"
        raise ArchiveDamaged(message)
    wrong: list[str] = [it for it in (*manifest.blobs, *manifest.missing) if not _DIGEST.fullmatch(it)]
    wrong += [it for it in manifest.dispatches if not _ID.fullmatch(it)]
    expected = {MANIFEST: len(data)} | {blob_entry(digest): size for digest, size in manifest.blobs.items()}
    expected |= {dispatch_entry(number): part.size for number, part in enumerate(manifest.dispatches.values())}
    if wrong or expected != dict(sizes) or not manifest.dispatches:
        message = "its manifest and what is in it do not fit"
        raise ArchiveDamaged(message)
    return manifest


def read_dispatch(data: bytes, manifest: Manifest, dispatch: DispatchId) -> ArchivedDispatch:
    """Decode a dispatch and check that it is one that has ended, and belongs to the others.

    Raises
    ------
    ArchiveDamaged
        If not.
    """
    try:
        found = msgspec.msgpack.decode(data, type=ArchivedDispatch)
        _check(found, manifest, dispatch)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError, IndexError, ValueError) as error:
        message = f"dispatch {dispatch} in it cannot be read: {error}"
        raise ArchiveDamaged(message) from error
    return found


def _check(found: ArchivedDispatch, manifest: Manifest, dispatch: DispatchId) -> None:
    outermost = next(iter(manifest.dispatches))
    summary, submission = found.summary, found.submission
    n_nodes = len(submission.graph.nodes)
    validate_graph(submission.graph, len(submission.values))
    nodes = [state.node for state in found.states] + [outcome.node for outcome in found.outcomes]
    nodes += [attempt.outcome.node for attempt in found.attempts]
    problems = {
        "another id": {summary.id, submission.id} != {dispatch},
        "no end": summary.status not in TERMINAL or summary.held,
        "another dispatch above it": summary.root != (None if dispatch == outermost else outermost)
        or summary.parent not in (None, *manifest.dispatches),
        "a node that is not in its graph": any(not 0 <= node < n_nodes for node in nodes),
        "a node twice": len({state.node for state in found.states}) < len(found.states)
        or len({outcome.node for outcome in found.outcomes}) < len(found.outcomes),
        "values that are not in the file": not {*manifest.blobs, *manifest.missing}.issuperset(found.blobs),
    }
    wrong = [text for text, is_wrong in problems.items() if is_wrong]
    if wrong:
        message = f"it has {' and '.join(wrong)}"
        raise ArchiveDamaged(message)


def renamed(found: ArchivedDispatch, names: Mapping[DispatchId, DispatchId]) -> ArchivedDispatch:
    """Return a dispatch under another id; those above it have others, too."""
    summary, submission = found.summary, found.submission
    ids = {
        "id": names[summary.id],
        "root": None if summary.root is None else names[summary.root],
        "parent": None if summary.parent is None else names[summary.parent],
    }
    return msgspec.structs.replace(
        found,
        summary=msgspec.structs.replace(summary, **ids),
        submission=msgspec.structs.replace(submission, **ids),
    )
