"""Structs of requests about stored dispatches, and their answers."""

from __future__ import annotations

from typing import Annotated

import msgspec

from covalab.core.model import Digest, DispatchId, Tag


class RedispatchRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `POST /dispatches/{id}/redispatch`: run the stored graph once more, under a new id.

    `id` is the client's, so that a request that was sent twice changes nothing; without one the dispatcher makes it.
    `reuse` and `strict` are a submission's `reuse` and `reuse_strict`.
    """

    id: DispatchId | None = None
    reuse: bool = False
    strict: bool = False
    nodes: list[Annotated[int, msgspec.Meta(ge=0, le=10**9)]] = []  # with `reuse`: these run, and all after them


class TagsRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `POST /dispatches/{id}/tags`: tags to add and to remove."""

    add: list[Tag] = []
    remove: list[str] = []


class Trusted(msgspec.Struct, frozen=True):
    """Answer of a request to trust dispatches: how many were not trusted before."""

    count: int


class ExportRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `POST /dispatches/{id}/export`: the full path of the file to write."""

    path: str


class ImportRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Body of `POST /import`: the full path of an archive, whether under new ids, and whether to trust it."""

    path: str
    as_new: bool = False
    trusted: bool = False


class Archived(msgspec.Struct, frozen=True):
    """Answer of an export or import: the outermost dispatch, how many there are, how many are new, values that lack."""

    id: DispatchId
    count: int
    new: int
    missing: list[Digest] = []


class PurgeResult(msgspec.Struct, frozen=True):
    """Result of a purge: how many outermost dispatches were deleted, each with all below it; of a dry run: would be."""

    gone: int
    ids: list[DispatchId] = []  # of a dry run: those that would be deleted
