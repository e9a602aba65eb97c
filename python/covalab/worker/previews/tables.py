"""Tables of pandas, polars, pyarrow and xarray: one page of rows, sorted by a column if asked.

No library is imported here: a value of one has imported it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Final

from covalab.core.previews import MOST_COLUMNS, PreviewColumn, PreviewQuery, PreviewTable
from covalab.worker.previews.cells import cell_text

_CELLS_AS_TABLE: Final = 1_000_000
"""The most elements of an xarray object that is made into a table: a table has each coordinate in each row."""


def page(
    columns: Sequence[PreviewColumn], index: list[str], values: Sequence[Sequence[Any]], query: PreviewQuery, n: int
) -> PreviewTable:
    """Return rows as a table; `values` are those of the page, column by column."""
    shown = columns[:MOST_COLUMNS]
    rows = [list(row) for row in zip(*([cell_text(it) for it in column] for column in values), strict=True)]
    return PreviewTable(list(shown), index, rows, query.offset, n, len(columns))


def pandas_table(value: Any, query: PreviewQuery) -> tuple[PreviewTable, int] | None:
    """Return a page of a pandas frame, series or index, and its size in bytes."""
    pandas = sys.modules.get("pandas")
    if pandas is None:
        return None
    if isinstance(value, pandas.Index):
        value = value.to_series(index=range(len(value)))
    if isinstance(value, pandas.Series):
        value = value.to_frame("value" if value.name is None else value.name)
    if not isinstance(value, pandas.DataFrame):
        return None
    size = int(value.memory_usage(deep=len(value) * max(1, value.shape[1]) < _CELLS_AS_TABLE).sum())
    columns = [
        PreviewColumn(_label(name), str(kind), is_number=kind.kind in "iufc")
        for name, kind in zip(value.columns, value.dtypes, strict=True)
    ]
    shown = value.iloc[query.offset : query.offset + query.count, :MOST_COLUMNS]
    if 0 <= query.sort < len(columns):
        column = value.iloc[:, query.sort].reset_index(drop=True)
        order = {"ascending": not query.descending, "kind": "stable", "na_position": "last"}
        try:
            places = column.sort_values(**order).index
        except TypeError:  # of several types: by their texts
            places = column.sort_values(**order, key=lambda one: one.astype(str)).index
        shown = value.iloc[places[query.offset : query.offset + query.count], :MOST_COLUMNS]
    values = [shown.iloc[:, number].tolist() for number in range(shown.shape[1])]
    return page(columns, [_label(label) for label in shown.index], values, query, len(value)), size


def _label(label: Any) -> str:
    return " / ".join(map(cell_text, label)) if isinstance(label, tuple) else cell_text(label)


def polars_table(value: Any, query: PreviewQuery) -> tuple[PreviewTable, int] | None:
    """Return a page of a polars frame or series, and its size in bytes."""
    polars = sys.modules.get("polars")
    if polars is None:
        return None
    if isinstance(value, polars.Series):
        value = value.to_frame()
    if not isinstance(value, polars.DataFrame):
        return None
    columns = [
        PreviewColumn(name or "value", str(kind), is_number=kind.is_numeric())
        for name, kind in zip(value.columns, value.dtypes, strict=True)
    ]
    places = range(query.offset, min(query.offset + query.count, value.height))
    shown = value.slice(query.offset, query.count)
    if 0 <= query.sort < len(columns):
        order = value.to_series(query.sort).arg_sort(descending=query.descending, nulls_last=True)
        order = order.slice(query.offset, query.count)
        places, shown = order.to_list(), value[order]
    values = [shown.to_series(number).to_list() for number in range(min(shown.width, MOST_COLUMNS))]
    return page(columns, [str(place) for place in places], values, query, value.height), int(value.estimated_size())


def arrow_table(value: Any, query: PreviewQuery) -> tuple[PreviewTable, int] | None:
    """Return a page of a pyarrow table or record batch, and its size in bytes."""
    arrow = sys.modules.get("pyarrow")
    if arrow is None:
        return None
    if isinstance(value, arrow.RecordBatch):
        value = arrow.Table.from_batches([value])
    if not isinstance(value, arrow.Table):
        return None
    is_number = (arrow.types.is_integer, arrow.types.is_floating, arrow.types.is_decimal)
    columns = [
        PreviewColumn(field.name, str(field.type), is_number=any(is_it(field.type) for is_it in is_number))
        for field in value.schema
    ]
    places = list(range(query.offset, min(query.offset + query.count, value.num_rows)))
    shown = value.slice(query.offset, query.count)
    if 0 <= query.sort < len(columns):
        keys = arrow.table({"key": value.column(query.sort), "place": arrow.array(range(value.num_rows))})
        keys = keys.sort_by([("key", "descending" if query.descending else "ascending"), ("place", "ascending")])
        places = keys.column("place").slice(query.offset, query.count).to_pylist()
        shown = value.take(places)
    values = [column.to_pylist() for column in shown.columns[:MOST_COLUMNS]]
    return page(columns, [str(place) for place in places], values, query, value.num_rows), int(value.nbytes)


def xarray_table(value: Any, query: PreviewQuery) -> tuple[PreviewTable | None, int, list[tuple[str, str]]] | None:
    """Return a page of an xarray object (None: it is too large for a table), its size in bytes, and its dimensions."""
    xarray = sys.modules.get("xarray")
    if xarray is None or not isinstance(value, xarray.DataArray | xarray.Dataset):
        return None
    facts = [("Dimensions", ", ".join(f"{name}: {length:,}" for name, length in value.sizes.items()))]
    if value.coords:
        facts.append(("Coordinates", ", ".join(map(str, value.coords))))
    size = int(value.nbytes)
    length = 1
    for one in value.sizes.values():
        length *= one
    if length > _CELLS_AS_TABLE or not value.sizes:
        return None, size, facts
    is_array = isinstance(value, xarray.DataArray)
    frame = (value.to_dataframe(name=value.name or "value") if is_array else value.to_dataframe()).reset_index()
    found = pandas_table(frame, query)
    return (None if found is None else found[0]), size, facts
