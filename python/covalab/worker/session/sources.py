"""Sources of a session: the texts of its cells, for tracebacks and for code that looks at itself."""

from __future__ import annotations

from collections.abc import Mapping

from covalab.blobs import BlobStore
from covalab.core.cell_source import remember_all
from covalab.core.model import INLINE_LIMIT, Value
from covalab.worker.session.record import CellRecord


class CellSources:
    """Texts of the cells so far. Each is in a record until there are many, which then become a blob of all records.

    Attributes
    ----------
    known
        All texts, by the names of their files.
    """

    def __init__(self, blobs: BlobStore) -> None:
        self._blobs = blobs
        self.known: dict[str, str] = {}
        self._recent: dict[str, str] = {}
        self._older: list[Value] = []

    def add(self, sources: Mapping[str, str]) -> None:
        """Add texts, by the names of their files."""
        new = {name: text for name, text in sources.items() if self.known.get(name) != text}
        self.known.update(new)
        self._recent.update(new)

    def restore(self, record: CellRecord) -> None:
        """Go on from a record."""
        self.known = record.sources
        self._recent, self._older = dict(record.state.sources), list(record.state.older_sources)
        remember_all(self.known)

    def stored(self) -> tuple[dict[str, str], list[Value]]:
        """Return the texts for a record, and the values with those before them."""
        if sum(map(len, self._recent.values())) > INLINE_LIMIT:  # smaller ones would not be blobs
            self._older.append(self._blobs.serialize(self._recent, what="texts of cells"))
            self._recent = {}
        return dict(self._recent), list(self._older)
