"""Values on another host: sent to the data folder there in parts, fetched once into a cache here.

The name of a value is the digest of its bytes, so both sides find out when a part is missing or changed.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from covalab.blobs import BlobStore
from covalab.client.far_connection import FarReply
from covalab.core.codec import Encoded, digest_of
from covalab.core.errors import BlobDamaged, BlobNotFound, DataFolderError
from covalab.core.far_kernels import PIECE_BYTES, StoredPart
from covalab.core.model import Digest, Value

_KEPT_SECONDS: Final = 7 * 24 * 3600.0
_ROUNDS: Final = 3
_BYTES: Final = {"Content-Type": "application/octet-stream"}

Ask = Callable[..., FarReply]


def cache_folder(url: str) -> Path:
    """Return the private folder of this host for what comes from a server; another process may clear it."""
    name = hashlib.sha256(url.encode()).hexdigest()[:16]
    usual = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    for folder in (
        Path(usual).expanduser() / "covalab" / name,
        Path(tempfile.gettempdir()) / f"covalab-{os.getuid()}" / name,
    ):
        with suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.parent.chmod(0o700)
            folder.chmod(0o700)  # of another user's this is refused
            return folder
    return Path(tempfile.mkdtemp(prefix="covalab-"))


class FarBlobs(BlobStore):
    """Values of a data folder on another host.

    Parameters
    ----------
    folder
        The cache here.
    ask
        `FarClient.request`.
    where
        The server, for messages.
    """

    def __init__(self, folder: Path, ask: Ask, where: str) -> None:
        super().__init__(folder)
        self._ask = ask
        self._where = where
        self._is_cleared = False

    def put(self, encoded: Encoded) -> Digest:
        """Send a value and return its digest; what is there is not sent again.

        Raises
        ------
        DataFolderError
            If the disk of the other host is full.
        BlobDamaged
            If it arrives there changed, again and again.
        """
        digest = digest_of(encoded.pieces)
        for _ in range(_ROUNDS):
            query = urlencode({"size": encoded.size})
            part = self._stored_part("POST", f"/blobs/{digest}?{query}", b"")
            while not part.is_whole:
                data = b"".join(_between(encoded, part.offset, PIECE_BYTES))
                query = urlencode({"size": encoded.size, "offset": part.offset})
                later = self._stored_part("PUT", f"/blobs/{digest}?{query}", data)
                if later.offset <= part.offset and not later.is_whole:
                    break  # what arrived is not what was sent: from the beginning
                part = later
            if part.is_whole:
                return digest
        message = (
            f"a value of {encoded.size:,} bytes arrives changed at {self._where}; check the network, then try again"
        )
        raise BlobDamaged(message, digest)

    def read(self, digest: Digest) -> memoryview:
        """Map a value; it is fetched if it is not in the cache."""
        try:
            return super().read(digest)
        except (BlobNotFound, BlobDamaged):  # a damaged one was moved aside
            self._fetch(digest)
        return super().read(digest)

    def has(self, value: Value) -> bool:
        """Whether the bytes of a value can be had."""
        if value.digest is None or super().has(value):
            return super().has(value)
        try:
            return self._read_part(value.digest, 0, 0)[1] == value.size
        except (BlobNotFound, DataFolderError):
            return False

    def keep(self, value: Value) -> bool:
        """Return whether the bytes of a value can be had."""
        return value.digest is None or self.has(value)

    def _fetch(self, digest: Digest) -> None:
        """Put a value into the cache."""
        self._clear()
        path = self.path(digest)
        temporary = path.with_name(f".{digest}.{secrets.token_hex(4)}")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
                offset, size = 0, 1
                while offset < size:
                    data, size = self._read_part(digest, offset, PIECE_BYTES)
                    if not data:
                        break  # it is compared with its digest when it is read
                    file.write(data)
                    offset += len(data)
            temporary.rename(path)
        except OSError as error:
            if isinstance(error, DataFolderError):
                raise
            message = (
                f"cannot write a value of {self._where} to its cache {self.folder}: {error.strerror}; free some space, "
                "or set XDG_CACHE_HOME to another folder"
            )
            raise DataFolderError(message) from error
        finally:
            with suppress(OSError):
                temporary.unlink()

    def _read_part(self, digest: Digest, offset: int, length: int) -> tuple[bytes, int]:
        """Return a part of a value, and how many bytes the whole has."""
        query = urlencode({"offset": offset, "length": length})
        reply = self._ask("GET", f"/blobs/{digest}?{query}")
        return reply.data, int(reply.headers.get("Covalab-Size", "0"))

    def _stored_part(self, method: str, target: str, body: bytes) -> StoredPart:
        reply = self._ask(method, target, body, more=_BYTES)
        return msgspec.msgpack.decode(reply.data, type=StoredPart)

    def _clear(self) -> None:
        """Remove what was not read for a week, once per process."""
        if self._is_cleared:
            return
        self._is_cleared = True
        with suppress(OSError):
            self.remove_unfinished(_KEPT_SECONDS)
            for digest in list(self.digests()):
                self.remove(digest, unused_for=_KEPT_SECONDS)


def _between(encoded: Encoded, start: int, length: int) -> Iterator[Any]:
    """Yield the bytes of an encoded value from a position on, at most so many."""
    for piece in encoded.pieces:
        view = memoryview(piece).cast("B")
        if start < len(view):
            part = view[start : start + length]
            yield part
            length -= len(part)
            start = 0
            if not length:
                return
        else:
            start -= len(view)
