"""Store place: the object store through which values travel to hosts that do not see the data folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

PROBE: Final = "probe"
"""The object by which a worker knows that it sees the same store as its pool."""


class StorePlace(msgspec.Struct, frozen=True):
    """Folder of an object store.

    `url` and the `options` of fsspec's file system are those of the configuration, `probe` is what `PROBE` holds.
    No secrets are in it: it travels to workers, and its address is shown.
    """

    url: str
    options: dict[str, Any] = {}
    folder: str = ""
    probe: str = ""

    @property
    def address(self) -> str:
        """The whole address."""
        return f"{self.url.rstrip('/')}/{self.folder}".rstrip("/")

    def below(self, folder: str, probe: str = "") -> StorePlace:
        """Return a folder at this address."""
        return StorePlace(self.url, self.options, folder, probe)


def store_trouble(url: str, options: Mapping[str, Any]) -> str:
    """Return what is wrong with the address of an object store and its options; nothing if they are as they should be.

    Examples
    --------
    >>> store_trouble("s3://bucket/prefix", {"endpoint_url": "http://minio:9000"})
    ''
    >>> store_trouble("bucket", {})
    "data.url is an address such as 's3://bucket/prefix', and 'bucket' is none"
    >>> store_trouble("s3://bucket", {"client_kwargs": {"aws_secret_access_key": "x"}}).partition(";")[0]
    'data.storage_options.client_kwargs.aws_secret_access_key is a secret, which does not belong in a file'
    """
    scheme, found, path = url.partition("://")
    if "@" in path.partition("/")[0] or "?" in path:
        return f"data.url has a name, a password or a token in it; {_WHERE}"
    if url and (not scheme or not found or not path.strip("/")):
        return f"data.url is an address such as 's3://bucket/prefix', and {url!r} is none"
    for name, value in _all_options(options):
        if _is_secret(name.rpartition(".")[2].lower()) and not (name == "token" and value in _GCS_WORDS):
            return f"data.storage_options.{name} is a secret, which does not belong in a file; {_WHERE}"
    return ""


_SECRETS: Final = ("key", "secret", "token", "password", "passwd", "passphrase", "connection_string", "credential")
_ENDS: Final = (*(f"_{name}" for name in _SECRETS), "_access_key_id")
_GCS_WORDS: Final = ("anon", "browser", "cache", "cloud", "google_default")
"""Values of gcsfs's option `token` that are ways to log in, and no token."""
_WHERE: Final = (
    "set it where the package looks for it, here and on the workers: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
    "GOOGLE_APPLICATION_CREDENTIALS, AZURE_STORAGE_CONNECTION_STRING, or that package's own file"
)


def _is_secret(name: str) -> bool:
    return name in _SECRETS or name.endswith(_ENDS)


def _all_options(options: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in options.items():
        yield name, value
        if isinstance(value, Mapping):
            yield from ((f"{name}.{below}", one) for below, one in _all_options(value))
