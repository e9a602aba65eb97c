"""Previews of values: what each kind of value is shown as, page by page."""

from __future__ import annotations

import base64
import collections
import dataclasses
import io
import sys
from pathlib import Path
from typing import Any

import matplotlib.figure
import numpy as np
import pandas as pd
import PIL.Image
import polars as pl
import pytest
import xarray as xr
from sklearn.linear_model import LogisticRegression

from covalab.core.previews import Preview, PreviewItem, PreviewQuery
from covalab.worker.previews.describe import describe


def shown(value: Any, **query: Any) -> Preview:
    """Return the preview of a value that can be shown."""
    found = describe(value, PreviewQuery(**query))
    assert found.why == ""
    return found


def rows(value: Any, **query: Any) -> list[list[str]]:
    """Return the rows of a value that is a table."""
    table = shown(value, **query).table
    assert table is not None
    return table.rows


FRAME = pd.DataFrame(
    {"depth": [3, 1, 2], "name": ["c", "a", None], "score": [0.5, np.nan, 0.25]}, index=["x", "y", "z"]
)


class Row(collections.namedtuple("Row", "left right")):  # noqa: PYI024 - as users write them
    """Named tuple of a subclass."""

    __slots__ = ()


@dataclasses.dataclass
class Point:
    """Point with two fields."""

    x: int
    y: object


class Shows:
    """Object that shows itself in a notebook, also by a program."""

    def _repr_html_(self) -> str:
        return "<b>bold</b>"

    def _repr_javascript_(self) -> str:
        return "alert(1)"


class Raises:
    """Object whose text cannot be made."""

    def __repr__(self) -> str:
        message = "no text"
        raise RuntimeError(message)


@pytest.mark.parametrize(
    "frame",
    [
        FRAME,
        pl.from_dicts(
            [{"depth": 3, "name": "c", "score": 0.5}, {"depth": 1, "name": "a"}, {"depth": 2, "score": 0.25}]
        ),
    ],
)
def test_a_table_is_paged_and_sorted(frame: Any) -> None:
    """By any column, up and down, missing values last; the rows keep their labels."""
    table = shown(frame, offset=1, count=1).table
    assert table is not None
    assert [column.name for column in table.columns] == ["depth", "name", "score"]
    assert (table.n_rows, table.n_columns, table.offset) == (3, 3, 1)
    assert [row[0] for row in table.rows] == ["1"]
    assert [row[0] for row in rows(frame, sort=0)] == ["1", "2", "3"]
    assert [row[0] for row in rows(frame, sort=0, descending=True)] == ["3", "2", "1"]
    assert [row[1] for row in rows(frame, sort=1, descending=True)][:2] == ["c", "a"]
    assert rows(frame, sort=99) == rows(frame)
    assert rows(frame, offset=10) == []


def test_rows_of_pandas_keep_their_labels() -> None:
    """A frame, a series, an index, an index of two levels, columns of one name, entries without an order."""
    table = shown(FRAME, sort=0).table
    assert table is not None
    assert table.index == ["y", "z", "x"]
    assert rows(pd.Series([2, 1], name="n"), sort=0) == [["1"], ["2"]]
    assert rows(pd.Index(["b", "a"])) == [["b"], ["a"]]
    two = pd.DataFrame([[1, 2], [0, 3]], columns=["a", "a"], index=pd.MultiIndex.from_tuples([("u", 1), ("v", 2)]))
    table = shown(two, sort=0).table
    assert table is not None
    assert (table.index, table.rows) == (["v / 2", "u / 1"], [["0", "3"], ["1", "2"]])
    assert len(rows(pd.DataFrame({"mixed": [1, "a", None, 2.5]}), sort=0)) == 4
    assert rows(pd.DataFrame()) == []
    wide = shown(pd.DataFrame(np.zeros((2, 500)))).table
    assert wide is not None
    assert (len(wide.columns), len(wide.rows[0]), wide.n_columns) == (100, 100, 500)


def test_a_table_of_pyarrow_is_paged_and_sorted(monkeypatch: pytest.MonkeyPatch) -> None:
    """As others, where pyarrow is installed; where it is not, nothing is imported for it."""
    arrow = sys.modules.get("pyarrow")
    if arrow is None:
        monkeypatch.delitem(sys.modules, "pyarrow", raising=False)
        shown(FRAME)
        assert "pyarrow" not in sys.modules
    else:
        table = arrow.table({"a": [2, 1, 3]})
        assert rows(table, sort=0, descending=True) == [["3"], ["2"], ["1"]]
        assert rows(arrow.table({"l": [[2], None, [1]]}), sort=0) == [["[1]"], ["[2]"], ["None"]]
        assert rows(arrow.table({"d": arrow.array(["v", "u"]).dictionary_encode()}), sort=0) == [["u"], ["v"]]
        assert rows(arrow.table({"a": arrow.array([], arrow.int64())}), sort=0) == []
        for array in (arrow.array([2, 1]), arrow.chunked_array([[2], [1]])):
            assert rows(array, sort=0) == [["1"], ["2"]]


def test_a_column_that_polars_cannot_sort_is_sorted_by_its_texts() -> None:
    """Polars ends in a panic there, which is no `Exception`; lists, structs and missing values it can."""
    frame = pl.DataFrame({"o": [Path("b"), None, Path("a")], "l": [[2], None, [1]], "s": [{"k": 2}, None, {"k": 1}]})
    assert frame["o"].dtype == pl.Object
    for sort in range(3):
        assert [row[1] for row in rows(frame, sort=sort)] == ["[1]", "[2]", "None"]
        assert [row[1] for row in rows(frame, sort=sort, descending=True)][:2] == ["[2]", "[1]"]
    assert [row[1] for row in rows(frame, sort=0, offset=1, count=1)] == ["[2]"]


def test_an_array_is_shown_with_shape_range_and_histogram() -> None:
    """Numbers, truth values, texts, structured ones, one of three dimensions; a page of rows, sorted."""
    found = shown(np.arange(1000.0).reshape(100, 10), sort=3, descending=True, count=2)
    facts = dict(found.facts)
    assert (facts["Shape"], facts["dtype"], facts["Range"], facts["Mean"]) == (
        "100 \u00d7 10",
        "float64",
        "0 to 999",
        "499.5",
    )
    assert (found.size, sum(found.bars.counts)) == (8000, 1000)  # type: ignore[union-attr]
    assert found.table is not None
    assert (found.table.index, found.table.rows[0][3]) == (["99", "98"], "993")
    assert found.data["image/png"]
    assert dict(shown(np.array([True, False, True])).facts)["True"] == "2 of 3"
    assert dict(shown(np.array([1.0, np.nan, np.inf])).facts)["Not finite"] == "2"
    assert rows(np.array(["b", "a"]), sort=0) == [["a"], ["b"]]
    assert rows(np.array([(1, 2.5)], dtype=[("n", int), ("x", float)])) == [["1", "2.5"]]
    assert shown(np.zeros((2, 3, 4))).table.n_rows == 3  # type: ignore[union-attr]
    for odd in (np.array(3.5), np.zeros(0), np.zeros((0, 3)), np.zeros((3, 0)), np.zeros((2, 0, 4))):
        shown(odd)
    for extreme in ([1e308, -1e308], [1e308, np.inf], [0, 5e-324], [2**63]):
        shown(np.array([extreme] * 10))
    assert rows(np.array([{}, 1, "a"], dtype=object), sort=0)


def test_pictures_are_pictures() -> None:
    """Arrays of colours, images of PIL, figures and axes of matplotlib."""
    for value in (
        np.zeros((20, 30, 3), dtype=np.uint8),
        np.full((20, 300, 4), 7, dtype=np.uint8),
        PIL.Image.new("RGB", (30, 20)),
        matplotlib.figure.Figure(),
        matplotlib.figure.Figure().add_subplot(),
    ):
        image = PIL.Image.open(io.BytesIO(base64.b64decode(shown(value).data["image/png"])))
        image.load()
        assert image.width >= 30


def test_an_xarray_object_is_a_table_unless_it_is_large() -> None:
    """With its dimensions; a large one shows itself."""
    small = shown(xr.DataArray(np.arange(6).reshape(2, 3), dims=("y", "x"), name="heat"), sort=2, descending=True)
    assert small.table is not None
    assert small.table.rows[0] == ["1", "2", "5"]
    assert dict(small.facts)["Dimensions"] == "y: 2, x: 3"
    large = shown(xr.Dataset({"v": (("y", "x"), np.zeros((1001, 1000)))}))
    assert large.table is None
    assert "xarray" in large.data["text/html"]


def texts(item: PreviewItem) -> list[str]:
    """Return keys and texts of a tree."""
    return [f"{item.key}={item.text}", *(text for part in item.items for text in texts(part))]


def test_containers_and_fields_are_trees() -> None:
    """Dictionaries, lists, dataclasses, named tuples; one that contains itself, a deep one, a long one."""
    tree = shown({"a": [1, Point(2, Row("l", "r"))], 3: ()}).tree
    assert tree is not None
    assert texts(tree) == [
        "=2 entries", "a=2 entries", "0=1", "1=2 entries", "x=2", "y=2 entries", "left=l", "right=r", "3=0 entries",
    ]  # fmt: skip
    endless: list[Any] = [1]
    endless.append(endless)
    deep: Any = 0
    for _ in range(500):
        deep = [deep]
    for value in (endless, deep):
        assert shown(value).tree is not None
    long = shown([[0] * 1000] * 1000).tree
    assert long is not None
    assert (long.text, len(texts(long)) <= 2_001, long.left_out > 0) == ("1,000 entries", True, True)


def test_a_long_text_comes_in_pieces_and_is_searched() -> None:
    """From an offset; small letters find capitals; the first place is brought along."""
    text = "ab " * 20_000 + "Needle" + " cd" * 20_000
    found = shown(text, find="needle").text
    assert found is not None
    assert (found.length, found.matches, found.n_matches) == (len(text), [60_000], 1)
    assert "Needle" in found.text
    assert shown(text, find="NEEDLE").text.n_matches == 0  # type: ignore[union-attr]
    assert shown(text, offset=119_000).text.text == text[119_000:139_000]  # type: ignore[union-attr]
    assert shown("a" * 5000, find="a").text.n_matches == 5000  # type: ignore[union-attr]
    assert shown("caf\udce9").text.text == "caf\\udce9"  # type: ignore[union-attr]


def test_an_object_shows_itself_but_runs_no_program() -> None:
    """The HTML of a model, of any object; scripts of a bundle are left out."""
    assert "LogisticRegression" in shown(LogisticRegression()).data["text/html"]
    assert shown(Shows()).data == {"text/html": "<b>bold</b>"}
    assert shown(object()).text is not None


def test_a_value_that_cannot_be_shown_says_why() -> None:
    """The error of its own code."""
    assert describe(Raises(), PreviewQuery()).why == "showing it raised RuntimeError: no text"
    assert shown([Raises()]).tree is not None
