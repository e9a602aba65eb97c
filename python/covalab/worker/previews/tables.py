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
    places: Sequence[int] = range(query.offset, min(query.offset + query.count, value.height))
    shown = value.slice(query.offset, query.count)
    if 0 <= query.sort < len(columns):
        column = value.to_series(query.sort)
        if column.dtype == polars.Object:  # which polars cannot sort, and ends in a panic
            order = by_text(column.to_list(), descending=query.descending)
        else:
            order = column.arg_sort(descending=query.descending, nulls_last=True).to_list()
        places = order[query.offset : query.offset + query.count]
        shown = value[places]
    values = [shown.to_series(number).to_list() for number in range(min(shown.width, MOST_COLUMNS))]
    return page(columns, [str(place) for place in places], values, query, value.height), int(value.estimated_size())


def arrow_table(value: Any, query: PreviewQuery) -> tuple[PreviewTable, int] | None:
    """Return a page of a pyarrow table, record batch or array, and its size in bytes."""
    arrow = sys.modules.get("pyarrow")
    if arrow is None:
        return None
    if isinstance(value, arrow.RecordBatch):
        value = arrow.Table.from_batches([value])
    if isinstance(value, arrow.Array | arrow.ChunkedArray):
        value = arrow.table({"value": value})
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
        places = _arrow_order(arrow, value.column(query.sort), query)[query.offset : query.offset + query.count]
        shown = value.take(arrow.array(places, arrow.int64()))
    values = [column.to_pylist() for column in shown.columns[:MOST_COLUMNS]]
    return page(columns, [str(place) for place in places], values, query, value.num_rows), int(value.nbytes)


def _arrow_order(arrow: Any, column: Any, query: PreviewQuery) -> list[int]:
    """Return the places of the rows in the order of a column, those without a value last."""
    keys = arrow.table({"key": column, "place": arrow.array(range(len(column)), arrow.int64())})
    try:
        keys = keys.sort_by([("key", "descending" if query.descending else "ascending"), ("place", "ascending")])
    except arrow.lib.ArrowException:  # of a type that has no order, such as lists
        return by_text(column.to_pylist(), descending=query.descending)
    places: list[int] = keys.column("place").to_pylist()
    return places


def by_text(values: Sequence[Any], *, descending: bool) -> list[int]:
    """Return the places of values in the order of their texts; None last.

    Examples
    --------
    >>> by_text([[2], None, [1], [1]], descending=False), by_text([[2], None, [1], [1]], descending=True)
    ([2, 3, 0, 1], [0, 2, 3, 1])
    """
    known = [place for place, value in enumerate(values) if value is not None]
    known.sort(key=lambda place: cell_text(values[place]), reverse=descending)
    return [*known, *(place for place, value in enumerate(values) if value is None)]


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
