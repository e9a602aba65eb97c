"""Code of a dispatch: stored inside the submission or, where it is long, as a blob, and loaded again."""

from __future__ import annotations

import types
from collections.abc import Mapping

import msgspec

from covalab.blobs import Blobs, BlobStore
from covalab.core.cell_source import CELLS, text_of
from covalab.core.codec import Encoded, decode, digest_of, encode
from covalab.core.hooks import Hooks
from covalab.core.model import INLINE_LIMIT, Digest
from covalab.sdk.values import UserValue
from covalab.worker.session.reach import names_in, reached, sources_of


def store_code(code: object, what: str, blobs: Blobs, inline: dict[Digest, bytes]) -> Digest:
    """Encode a function, or another object that travels like one, into `inline` or as a blob; return its digest."""
    return _store(encode(code, what=what, attributes=_cells(code)), blobs, inline)


def _cells(code: object) -> dict[str, object]:
    """Return the attribute with the texts of the cells that a function and what it calls came from, for tracebacks."""
    if type(code) is not types.FunctionType or text_of(code.__code__.co_filename) is None:
        return {}
    names = reached(names_in(code), code.__globals__)
    cells = sources_of([code, *(code.__globals__[name] for name in sorted(names))])
    if hasattr(code, "__covalab_source__"):
        del cells[code.__code__.co_filename]
    return {CELLS: tuple(sorted(cells.items()))} if cells else {}


def store_hooks(hooks: Hooks, blobs: Blobs, inline: dict[Digest, bytes]) -> Digest:
    """Encode hooks, into `inline` or as a blob, and return their digest."""
    data = msgspec.msgpack.encode(hooks)
    return _store(Encoded([data], len(data)), blobs, inline)


def store_bytes(data: bytes, blobs: Blobs, inline: dict[Digest, bytes], *, digest: Digest) -> Digest:
    """Store bytes of which the digest is known, into `inline` or as a blob; return it."""
    if len(data) > INLINE_LIMIT:
        return blobs.put(Encoded([data], len(data)))
    inline[digest] = data
    return digest


def _store(encoded: Encoded, blobs: Blobs, inline: dict[Digest, bytes]) -> Digest:
    if encoded.size > INLINE_LIMIT:
        return blobs.put(encoded)
    digest = digest_of(encoded.pieces)
    inline[digest] = encoded.join()
    return digest


def open_code(
    digest: Digest, inline: Mapping[Digest, bytes], blobs: BlobStore, *, what: str = "a function"
) -> UserValue:
    """Deserialize what `store_code` stored."""
    return decode(blobs.code(digest, inline, what), what=what)
