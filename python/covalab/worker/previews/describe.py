"""Preview of one value: chooses what shows it best."""

from __future__ import annotations

import sys
from typing import Any, Final

from covalab.core.codec import USERS_ERRORS, preview, printable, type_name
from covalab.core.previews import TEXT_SHOWN, Preview, PreviewQuery, PreviewText
from covalab.worker.previews import tables
from covalab.worker.previews.arrays import array_preview
from covalab.worker.previews.displays import displayed
from covalab.worker.previews.files import whole
from covalab.worker.previews.trees import tree

_MOST_MATCHES: Final = 1_000
_BEFORE_MATCH: Final = 500


def describe(value: Any, query: PreviewQuery) -> Preview:
    """Return the preview of a value. Code of the value's class may run, and its errors are told."""
    kind = type_name(value)
    try:
        return whole(value) if query.whole else _described(value, kind, query)
    except USERS_ERRORS as error:  # of a repr, a property, a comparison
        why = f"showing it raised {type(error).__name__}: {printable(str(error), 500)}"
        return Preview(kind, why=why)


def _described(value: Any, kind: str, query: PreviewQuery) -> Preview:
    for show in (_as_text, array_preview, _as_table, _as_xarray, _as_container, _as_itself, _as_fields):
        found = show(value, query)
        if found is not None:
            return found
    text = preview(value) if isinstance(value, int | float | complex | bytes | bytearray) else _repr(value)
    return Preview(kind, sys.getsizeof(value), text=_text(text, query))


def _as_text(value: Any, query: PreviewQuery) -> Preview | None:
    if not isinstance(value, str):
        return None
    return Preview(type_name(value), sys.getsizeof(value), text=_text(str(value), query))


def _as_table(value: Any, query: PreviewQuery) -> Preview | None:
    for table_of in (tables.pandas_table, tables.polars_table, tables.arrow_table):
        found = table_of(value, query)
        if found is not None:
            table, size = found
            facts = [("Rows", f"{table.n_rows:,}"), ("Columns", f"{table.n_columns:,}")]
            return Preview(type_name(value), size, facts, table=table)
    return None


def _as_xarray(value: Any, query: PreviewQuery) -> Preview | None:
    found = tables.xarray_table(value, query)
    if found is None:
        return None
    table, size, facts = found
    return Preview(type_name(value), size, facts, table=table, data={} if table is not None else displayed(value))


def _as_container(value: Any, _: PreviewQuery) -> Preview | None:
    """Show a container of Python's own as a tree: a subclass may show itself better."""
    branches = tree(value) if type(value).__module__ in ("builtins", "collections") else None
    return None if branches is None else Preview(type_name(value), sys.getsizeof(value), tree=branches)


def _as_itself(value: Any, _: PreviewQuery) -> Preview | None:
    data = displayed(value)
    if not data:
        return None
    return Preview(type_name(value), data=data, tree=None if "text/html" in data else tree(value))


def _as_fields(value: Any, _: PreviewQuery) -> Preview | None:
    branches = tree(value)
    return None if branches is None else Preview(type_name(value), tree=branches)


def _repr(value: Any) -> str:
    text = repr(value)
    return text if isinstance(text, str) else preview(value)


def _text(text: str, query: PreviewQuery) -> PreviewText:
    matches: list[int] = []
    n_matches = 0
    offset = min(query.offset, max(0, len(text) - 1))
    if query.find:
        where = text if query.find != query.find.lower() else text.lower()
        # Lower case may be longer than the text; then places would be wrong.
        where = where if len(where) == len(text) else text
        at = where.find(query.find)
        while at >= 0:
            n_matches += 1
            if len(matches) < _MOST_MATCHES:
                matches.append(at)
            at = where.find(query.find, at + len(query.find))
        if matches and query.offset == 0:
            offset = max(0, matches[0] - _BEFORE_MATCH)
    shown = printable(text[offset : offset + TEXT_SHOWN], TEXT_SHOWN)
    return PreviewText(shown, offset, len(text), matches, n_matches)
