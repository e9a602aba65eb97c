"""Archives: writes a dispatch with all below it as one file, and records what is in such a file."""

from __future__ import annotations

import asyncio
import os
import secrets
import stat
import uuid
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import apsw
import msgspec
from blake3 import blake3

from covalab._version import __version__
from covalab.blobs import BlobStore
from covalab.core import archive
from covalab.core.archive import ArchivedDispatch, Manifest, Part, ZipEntry
from covalab.core.errors import (
    ArchiveDamaged,
    ArchiveExists,
    BlobDamaged,
    BlobNotFound,
    CovalabError,
    DataFolderError,
    MissingLatticeRecordError,
)
from covalab.core.lifecycle import TERMINAL
from covalab.core.model import Digest, DispatchId
from covalab.core.requests import Archived
from covalab.dispatcher.commits import Commits
from covalab.dispatcher.registry import Registry
from covalab.store import archive_rows, dispatch_rows, seals

_CHUNK: Final = 16 * 1024**2


class _Opened(NamedTuple):
    manifest: Manifest
    dispatches: list[ArchivedDispatch]


class Archives:
    """Archives of one data folder.

    Parameters
    ----------
    registry
        The dispatches.
    commits
        Records what is imported.
    """

    def __init__(self, registry: Registry, commits: Commits) -> None:
        self._registry = registry
        self._commits = commits

    async def export(self, dispatch: DispatchId, path: Path) -> Archived:
        """Write a dispatch that has ended, with all below it, as one new file.

        Raises
        ------
        MissingLatticeRecordError
            If there is no such dispatch.
        ArchiveExists
            If there is something at the path, or the dispatch has not ended.
        DataFolderError
            If the file cannot be written.
        """

        def job(db: apsw.Connection) -> list[ArchivedDispatch]:
            return [archive_rows.select_archived(db, key) for key, _ in seals.select_below(db, dispatch)]

        found = await self._registry.store.read(job)
        if not found:
            raise MissingLatticeRecordError(dispatch, str(self._registry.folder))
        found.sort(key=lambda it: it.summary.root is not None)
        open_ones = [it.summary.id for it in found if it.summary.status not in TERMINAL or it.summary.held]
        if open_ones:
            message = f"dispatch {open_ones[0]} has not ended; wait for it, or cancel it, then export it"
            raise ArchiveExists(message)
        return await asyncio.to_thread(_write, found, path, self._registry.blobs)

    async def bring_in(self, path: Path, *, as_new: bool, is_trusted: bool) -> Archived:
        """Record the dispatches of a file under their ids, or under new ones; what is recorded already stays.

        Raises
        ------
        ArchiveDamaged
            If the file is none of ours, or damaged; nothing is recorded.
        ArchiveExists
            If another dispatch has one of the ids.
        DataFolderError
            If the data folder is full.
        """
        opened = await asyncio.to_thread(_read, path, self._registry.blobs)
        dispatches = opened.dispatches
        if as_new:
            names = {it.summary.id: DispatchId(str(uuid.uuid4())) for it in dispatches}
            dispatches = [archive.renamed(it, names) for it in dispatches]

        def job(db: apsw.Connection) -> list[ArchivedDispatch]:
            new = [it for it in dispatches if not _is_there(db, it)]
            for it in new:
                archive_rows.insert_archived(db, it, is_trusted=is_trusted)
            return new

        outermost = dispatches[0].summary
        new = await self._commits.write(job, [it.summary.id for it in dispatches])
        for it in new:
            self._registry.finished.forget(it.summary.id)
            self._registry.feed.publish(it.summary)
        return Archived(outermost.id, len(dispatches), len(new), list(opened.manifest.missing))


def _is_there(connection: apsw.Connection, found: ArchivedDispatch) -> bool:
    """Whether a dispatch is recorded already; raises `ArchiveExists` if another one has its id."""
    row = dispatch_rows.select_dispatch(connection, found.summary.id)
    if row is None:
        return False
    there = archive_rows.select_archived(connection, row[0])
    # Triggers stay behind, and a version grows when a dispatch is looked after.
    if _content(there) != _content(found):
        message = (
            f"another dispatch {found.summary.id} is recorded here; import it under a new id: --as-new, or "
            "ct.import_dispatch(path, as_new=True)"
        )
        raise ArchiveExists(message)
    return True


def _content(found: ArchivedDispatch) -> bytes:
    summary = msgspec.structs.replace(found.summary, version=0, inner=0)
    submission = msgspec.structs.replace(found.submission, triggers=[])
    plain = msgspec.structs.replace(found, summary=summary, submission=submission, blobs=sorted(found.blobs))
    return msgspec.msgpack.encode(plain)


# -- the file -----------------------------------------------------------------------------------------------------


def _write(found: list[ArchivedDispatch], path: Path, blobs: BlobStore) -> Archived:
    if os.path.lexists(path):
        message = f"{path} is there already; choose another name, or remove it"
        raise ArchiveExists(message)
    parts = {it.summary.id: msgspec.msgpack.encode(it) for it in found}
    sizes, missing = dict[Digest, int](), list[Digest]()
    for digest in sorted({digest for it in found for digest in it.blobs}):
        try:
            sizes[digest] = len(blobs.read(digest))
        except (BlobNotFound, BlobDamaged):
            missing.append(digest)
    manifest = Manifest(
        archive.FORMAT,
        __version__,
        {name: Part(len(data), blake3(data).hexdigest()) for name, data in parts.items()},
        sizes,
        missing,
    )
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        fd = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(fd, "wb") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as target:
                target.writestr(archive.MANIFEST, msgspec.json.encode(manifest))
                for number, data in enumerate(parts.values()):
                    target.writestr(archive.dispatch_entry(number), data)
                for digest, size in sizes.items():
                    with target.open(archive.blob_entry(digest), "w", force_zip64=size >= 1 << 30) as entry:
                        value = blobs.read(digest)
                        for start in range(0, size, _CHUNK):
                            entry.write(value[start : start + _CHUNK])
            file.flush()
            os.fsync(file.fileno())
        os.link(temporary, path)  # not a rename, which would write over what came there meanwhile
    except OSError as error:
        message = f"cannot write {path}: {error.strerror}; choose another place"
        raise DataFolderError(message) from error
    finally:
        with suppress(OSError):
            temporary.unlink()
    return Archived(found[0].summary.id, len(found), len(found), missing)


def _read(path: Path, blobs: BlobStore) -> _Opened:
    """Check a file, then keep its large values; nothing refers to them yet."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                message = "it is no file"
                raise ArchiveDamaged(message)  # noqa: TRY301 - named with the path below
            with zipfile.ZipFile(file) as source:
                return _read_entries(source, status.st_size, blobs)
    except ArchiveDamaged as error:
        message = f"{path} cannot be imported, and nothing of it was: {error}"
        raise ArchiveDamaged(message) from error
    except CovalabError:
        raise
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror or error}"
        raise ArchiveDamaged(message) from error
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        message = f"{path} cannot be imported, and nothing of it was: it is damaged, or no archive: {error}"
        raise ArchiveDamaged(message) from error


def _read_entries(source: zipfile.ZipFile, size: int, blobs: BlobStore) -> _Opened:
    entries = [
        ZipEntry(
            it.filename,
            it.file_size,
            it.compress_type == zipfile.ZIP_STORED and it.compress_size == it.file_size and not it.flag_bits & 1,
        )
        for it in source.infolist()
    ]
    sizes = archive.check_entries(entries, size)
    manifest = archive.read_manifest(source.read(archive.MANIFEST), sizes)
    found: list[ArchivedDispatch] = []
    for number, (dispatch, part) in enumerate(manifest.dispatches.items()):
        data = source.read(archive.dispatch_entry(number))
        if blake3(data).hexdigest() != part.digest:
            message = f"dispatch {dispatch} in it is damaged"
            raise ArchiveDamaged(message)
        found.append(archive.read_dispatch(data, manifest, dispatch))
    for digest, length in manifest.blobs.items():
        with source.open(archive.blob_entry(digest)) as entry:
            try:
                blobs.receive(digest, length, _chunks(entry))  # type: ignore[arg-type]  # a reader of bytes
            except BlobDamaged as error:
                message = f"value {digest[:12]}… in it is damaged"
                raise ArchiveDamaged(message) from error
    return _Opened(manifest, found)


def _chunks(entry: BinaryIO) -> Iterator[bytes]:
    while chunk := entry.read(_CHUNK):
        yield chunk
