"""Local modules: the files beside a notebook that a dispatch may import, as they were when it was dispatched.

Pure: structs and their bytes. `sdk.code.local_modules` collects them, `worker.local_modules` imports from them.
"""

from __future__ import annotations

import zlib
from typing import Final

import msgspec

SIZE_LIMIT: Final = 8 * 1024**2
"""Bytes of source that travel with a dispatch; what is beyond is read from its file when it is imported."""


class LocalModule(msgspec.Struct, frozen=True, array_like=True):
    """One module. `source` None: a namespace package, which has folders and no code."""

    path: bytes  # of its file, as the file system spells it
    is_package: bool = False
    source: bytes | None = None
    folders: list[bytes] = []  # of a namespace package


LocalModules = dict[str, LocalModule]
"""Modules by their full names."""

_decoder: Final = msgspec.msgpack.Decoder(LocalModules)


def pack(modules: LocalModules) -> bytes:
    """Return modules as bytes; the same modules give the same bytes."""
    return zlib.compress(msgspec.msgpack.encode(dict(sorted(modules.items()))), 6)


def unpack(packed: bytes | memoryview) -> LocalModules:
    """Return the modules that `pack` packed."""
    return _decoder.decode(zlib.decompress(packed))
