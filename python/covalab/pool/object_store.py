"""Object store: a folder at an address of fsspec's, in which blobs lie under their digests for a while.

Nothing that is read from it is believed: its readers compare what they get with its digest.
"""

from __future__ import annotations

import functools
import importlib.util
import secrets
import socket
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from covalab.core.errors import CovalabError
from covalab.core.model import Digest
from covalab.core.store_place import PROBE, StorePlace

AT_ONCE: Final = 8
"""Objects that are written or read at once: each takes a while, however small it is."""
_CHECK: Final = "check"
_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")


class _Kind(NamedTuple):
    """Kind of store: the package that it needs, our extra with it, and what its file system is made with."""

    package: str
    install: str
    options: dict[str, Any]


_S3: Final = _Kind(
    "s3fs",
    "covalab[s3]",
    # botocore's own limits are a minute and five tries; values can travel in another way.
    {"config_kwargs": {"connect_timeout": 5, "read_timeout": 30, "retries": {"max_attempts": 2}}},
)
_GCS: Final = _Kind("gcsfs", "covalab[gcs]", {})
_AZURE: Final = _Kind("adlfs", "covalab[azure]", {})
_KINDS: Final = {"s3": _S3, "s3a": _S3, "gs": _GCS, "gcs": _GCS, "az": _AZURE, "abfs": _AZURE, "abfss": _AZURE}


class StoreUnusable(CovalabError):
    """Something is wrong with the store as a whole. The message says what, and what to do."""


class ObjectGone(CovalabError):
    """An object is not in the store, or is damaged there."""


class ObjectStore:
    """Folder of an object store.

    Parameters
    ----------
    place
        Where it is.

    Raises
    ------
    StoreUnusable
        If there is no such kind of store, or its package is missing.
    """

    def __init__(self, place: StorePlace) -> None:
        import fsspec  # noqa: PLC0415 - only where there is a store

        self.place = place
        scheme = place.url.partition("://")[0]
        kind = _KINDS.get(scheme)
        if kind is not None and importlib.util.find_spec(kind.package) is None:
            need = f"{place.url} needs the package {kind.package} on {socket.gethostname()}"
            message = f"{need}: run `{sys.executable} -m pip install '{kind.install}'` there"
            raise StoreUnusable(message)
        options = {"use_listings_cache": False, **({} if kind is None else kind.options), **place.options}
        with self._trouble():
            self._system, path = fsspec.core.url_to_fs(place.address, **options)
        self._folder = str(path).rstrip("/")
        self._has_folders = kind is None

    def open(self) -> None:
        """Make the folder, and write its probe."""
        with self._trouble():
            if self._has_folders:
                self._system.makedirs(self._folder, exist_ok=True)
                if self._system.protocol[0] == "file":
                    Path(self._folder).chmod(0o700)
            self._system.pipe_file(self._at(PROBE), self.place.probe.encode())
            found = self._system.cat_file(self._at(PROBE))
        self._compare(found)

    def join(self) -> None:
        """Look whether this is the store that `open` was called for elsewhere, and whether it can be written to."""
        with self._trouble():
            try:
                found = self._system.cat_file(self._at(PROBE))
            except FileNotFoundError:
                found = b""
        if found == b"":
            message = f"{self.place.url} is not the same place on {socket.gethostname()} as for the pool"
            raise StoreUnusable(message)
        self._compare(found)
        name = self._at(f"{PROBE}.{secrets.token_hex(4)}")
        with self._trouble():
            self._system.pipe_file(name, found)
            self._system.rm_file(name)

    def _compare(self, found: bytes) -> None:
        if found != self.place.probe.encode():
            message = f"{self.place.url}: what is read there on {socket.gethostname()} is not what was written"
            raise StoreUnusable(message)

    def put(self, digest: Digest, path: Path) -> None:
        """Write a blob from its file. Raises `FileNotFoundError` if there is no such file."""
        if not path.is_file():
            raise FileNotFoundError(str(path))
        with self._trouble():
            self._system.put_file(str(path), self._at(digest))

    def get(self, digest: Digest, path: Path) -> None:
        """Read a blob into a file, which may be anything. Raises `ObjectGone` if it is not in the store."""
        with self._trouble():
            try:
                self._system.get_file(self._at(digest), str(path))
            except FileNotFoundError as error:
                message = f"value {digest[:12]}… is not in {self.place.url}"
                raise ObjectGone(message) from error
            except Exception as error:
                if "checksum" not in type(error).__name__.lower():  # some stores keep one with each object
                    raise
                message = f"value {digest[:12]}… in {self.place.url} is damaged: {error}"
                raise ObjectGone(message) from error

    def remove(self, digests: Iterable[Digest]) -> None:
        """Remove blobs, those that are there."""
        for digest in digests:
            with self._trouble(), suppress(FileNotFoundError):
                self._system.rm_file(self._at(digest))

    def clear(self) -> None:
        """Remove the folder with everything in it."""
        with self._trouble(), suppress(FileNotFoundError):
            self._system.rm(self._folder, recursive=True)

    def _at(self, name: str) -> str:
        return f"{self._folder}/{name}"

    @contextmanager
    def _trouble(self) -> Iterator[None]:
        try:
            yield
        except CovalabError:
            raise
        except Exception as error:  # a package of a store may raise anything
            what = f"{self.place.url} cannot be used on {socket.gethostname()}: {type(error).__name__}: {error}"
            message = f"{what}. {_advice(error)}"
            raise StoreUnusable(message) from error


def _advice(error: Exception) -> str:
    if isinstance(error, ImportError):
        return f"Install what it names for {sys.executable}"
    name = type(error).__name__
    if isinstance(error, PermissionError) or "Credential" in name:
        return "Set the credentials where its package looks for them (for S3 AWS_ACCESS_KEY_ID and ..SECRET_..)"
    if isinstance(error, FileNotFoundError):
        return "Make the bucket or folder, or correct data.url"
    if isinstance(error, ValueError | TypeError):
        return "Correct data.url or data.storage_options"
    return "Start it, or correct data.url and data.storage_options"


@functools.lru_cache(maxsize=8)
def joined(encoded: bytes) -> ObjectStore:
    """Return the store at an encoded `StorePlace`."""
    return ObjectStore(msgspec.msgpack.decode(encoded, type=StorePlace))


def check(place: StorePlace) -> None:
    """Write, read and delete an object. Raises `StoreUnusable` if that does not work."""
    store = ObjectStore(place.below(f"{_CHECK}-{secrets.token_hex(8)}", secrets.token_hex(32)))
    store.open()
    store.join()
    store.clear()


def each(work: Callable[[_Item], _Answer], items: Sequence[_Item]) -> list[_Answer]:
    """Return what a function returns for each of some items, several at once."""
    if len(items) == 1:
        return [work(items[0])]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        return list(threads.map(work, items))
