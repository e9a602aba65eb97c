"""Carrier: the way of values to and from a data folder that this process does not see.

A task on another's worker without a shared folder reads and writes blobs in a cache folder of its host. What is not
there is fetched, what it writes is offered, through the worker and the pool. `BlobStore` and `ReuseIndex` look here.
"""

from __future__ import annotations

from typing import Final, Protocol

from covalab.core.model import Digest


class Carrier(Protocol):
    """Way between a cache folder and the data folder that it stands for."""

    def fetch(self, digest: Digest) -> None:
        """Bring a blob into the cache. Raises what `BlobStore.read` does if it cannot be had."""

    def offer(self, digest: Digest, size: int) -> None:
        """Bring a blob of the cache to the data folder, before anything that the task reports after this."""

    def keep(self, digest: Digest, size: int) -> bool:
        """Return whether the data folder has a blob; there it counts as just used."""

    def touch(self, digest: Digest) -> None:
        """Note that a blob of the cache was used."""

    def runs(self, key: str) -> list[bytes]:
        """Return the runs of a key in the index of the data folder."""

    def add_run(self, key: str, dispatch: str, data: bytes) -> None:
        """Add a run to the index of the data folder."""


carriers: Final[dict[str, Carrier]] = {}
"""Carriers of this process, by blob folder. Elsewhere it is empty: the folder is the data folder's own."""
