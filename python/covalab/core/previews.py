"""Previews: a stored value as a page shows it, and the part of it that is asked for. Pure."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec

from covalab.core.model import Edge, Node, Value
from covalab.core.protocol import Batch

MOST_ROWS: Final = 500
"""The most rows of a table in one preview."""

MOST_COLUMNS: Final = 100
"""The most columns of a table in one preview."""

TEXT_SHOWN: Final = 20_000
"""The characters of a long text in one preview."""

CELL_SHOWN: Final = 200
"""The most characters of one entry of a table or tree."""


class PreviewQuery(msgspec.Struct, frozen=True, omit_defaults=True):
    """The part of a value that is asked for: rows or characters from `offset` on; `sort` is the number of a column.

    `whole`: a file with all of it, and nothing else.
    """

    offset: Annotated[int, msgspec.Meta(ge=0, le=2**53)] = 0
    count: Annotated[int, msgspec.Meta(ge=1, le=MOST_ROWS)] = 20
    sort: Annotated[int, msgspec.Meta(ge=-1, le=10**6)] = -1
    descending: bool = False
    find: Annotated[str, msgspec.Meta(max_length=200)] = ""
    whole: bool = False


class PreviewColumn(msgspec.Struct, frozen=True, array_like=True):
    """Column of a table: its name, the type of its values, and whether they are numbers."""

    name: str
    type: str
    is_number: bool


class PreviewTable(msgspec.Struct, frozen=True):
    """Rows of a table from `offset` on; `index` are their labels."""

    columns: list[PreviewColumn]
    index: list[str]
    rows: list[list[str]]
    offset: int
    n_rows: int
    n_columns: int
    is_sortable: bool = True


class PreviewItem(msgspec.Struct, frozen=True):
    """Entry of a tree; `left_out` counts those below it that the preview does not have."""

    key: str
    type: str
    text: str
    items: list[PreviewItem] = []
    left_out: int = 0


class PreviewText(msgspec.Struct, frozen=True):
    """Piece of a long text from `offset` on; `matches` are the first places of what is searched for, of `n_matches`."""

    text: str
    offset: int
    length: int
    matches: list[int] = []
    n_matches: int = 0


class PreviewBars(msgspec.Struct, frozen=True):
    """Histogram: how many numbers are in each of the equal parts between `low` and `high`."""

    counts: list[int]
    low: str
    high: str


class PreviewFile(msgspec.Struct, frozen=True):
    """File with a value: the ending of its name, its MIME type, and its bytes in base64."""

    ending: str
    type: str
    content: str


class Preview(msgspec.Struct, frozen=True):
    """A value as a page shows it; `data` is a MIME bundle. `why`: the reason that there is nothing to show."""

    type: str
    size: int = -1  # bytes in memory; -1: not known
    facts: list[tuple[str, str]] = []
    why: str = ""
    table: PreviewTable | None = None
    tree: PreviewItem | None = None
    text: PreviewText | None = None
    bars: PreviewBars | None = None
    data: dict[str, Any] = {}
    file: PreviewFile | None = None


class PreviewRequest(msgspec.Struct, frozen=True):
    """Dispatcher to preview process: show a part of a node's value. `key` names the value, so that it is opened once.

    `batch` has no tasks: it is the environment in which the value is opened. `nodes`, `into` and `values` are those
    of which the value of node `node` is made (`assemble.value_at`).
    """

    key: str
    node: int
    nodes: dict[int, Node]
    into: dict[int, list[Edge]]
    values: dict[int, Value]
    query: PreviewQuery
    batch: Batch
