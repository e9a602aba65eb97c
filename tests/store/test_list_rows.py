"""The list of dispatches is searched, filtered, sorted and grouped over everything that is stored."""

from __future__ import annotations

import sys
from typing import Any

import apsw
import pytest

from covalab.core.codec import serialize_small
from covalab.core.dispatch_list import ListQuery, Only, call_text, short
from covalab.core.model import (
    Counts,
    Digest,
    DispatchId,
    DispatchSummary,
    Environment,
    Failure,
    Graph,
    Node,
    NodeKind,
    NodeState,
    Origin,
    Outcome,
    Status,
    Submission,
)
from covalab.core.requests import TagsRequest
from covalab.store import dispatch_rows
from covalab.store.list_rows import select_group_page, select_newest_again, select_page
from covalab.store.schema import migrate


class Folder:
    """A database in memory, in which dispatches of one task are recorded."""

    def __init__(self) -> None:
        self.connection = apsw.Connection(":memory:")
        migrate(self.connection)
        self.n = 0

    def record(
        self, name: str, status: Status = "completed", seconds: float = 1.0, value_is: object = 0.97, **fields: Any
    ) -> DispatchId:
        """Record a dispatch that ended as `status`, with a value, or a KeyError."""
        self.n += 1
        start = float(self.n)
        its_id = DispatchId(f"id-{self.n:05}")
        made = Submission(
            id=its_id,
            graph=Graph(name, [Node("fit", NodeKind.ELECTRON)], [], [], [], 0),
            values=[],
            code={Digest("c" * 64): b""},
            environment=Environment(sys.executable, sys.prefix, "/"),
            origin=Origin(),
            inputs=serialize_small(1),
            lattice=Digest("c" * 64),
            root=fields.get("root"),
        )
        ended = None if status in ("pending", "running") else start + seconds
        error = "The following tasks failed:\n0: fit" if status == "failed" else ""
        summary = DispatchSummary(its_id, name, status, 1, start, start, ended, Counts(), error=error, **fields)
        failure = Failure("runtime", "'b'\nmore", "KeyError") if status == "failed" else None
        key, _ = dispatch_rows.insert_dispatch(self.connection, made, summary)
        if ended is not None:
            value = serialize_small(value_is) if status == "completed" else None
            state = NodeState(0, status, start, ended, 1)
            outcomes = [Outcome(0, status, start, ended, value, failure)]
            dispatch_rows.update_dispatch(self.connection, key, summary, [state], outcomes)
        return its_id

    def found(self, **query: Any) -> list[str]:
        """Return the ids that a query gives."""
        return [row.summary.id[-1] for row in select_page(self.connection, ListQuery(**query)).rows]


@pytest.fixture
def folder() -> Folder:
    """Six dispatches in two notebooks, one of them below another."""
    folder = Folder()
    folder.record("sweep", notebook="/home/a/Study.ipynb", inputs="C=0.5")
    folder.record("sweep", "failed", 9.0, notebook="/home/a/Study.ipynb", inputs="C=2.0")
    folder.record("sweep", notebook="/home/a/other.ipynb", inputs="C=2.0")
    folder.record("Ablation", "cancelled", notebook="/home/a/Study.ipynb", inputs="100%")
    folder.record("inner", root="id-00004")
    folder.record("ablation", "running", origin=DispatchId("id-00004"))
    return folder


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "64321"),
        ("SWEEP", "321"),
        ("sweep study", "21"),
        ("c=2.0", "32"),
        ("00003", "3"),
        ("%", "4"),
        ("_", ""),
        ("' OR 1=1 --", ""),
    ],
)
def test_each_word_is_looked_for_in_name_notebook_inputs_and_id(folder: Folder, text: str, expected: str) -> None:
    """Case does not count, signs of SQL are signs, and what is below another dispatch is not listed."""
    assert folder.found(text=text) == [*expected]
    page = select_page(folder.connection, ListQuery(text=text, count=1))
    assert (page.matching, page.total) == (len(expected), 5)


@pytest.mark.parametrize(
    ("only", "expected"),
    [("active", "6"), ("completed", "31"), ("failed", "42"), ("failed_tasks", "2"), ("cancelled_tasks", "4")],
)
def test_a_filter_is_over_everything(folder: Folder, only: Only, expected: str) -> None:
    """Also with a page of one: the others are counted."""
    assert folder.found(only=only) == [*expected]
    assert folder.found(only=only, count=1) == [expected[0]]
    assert folder.found(only=only, count=1, offset=len(expected)) == []


def test_rows_are_sorted(folder: Folder) -> None:
    """By age, duration or name; what still runs has run for longest here."""
    assert folder.found(sort="oldest") == [*"12346"]
    assert folder.found(sort="longest") == [*"62431"]
    assert folder.found(sort="name") == [*"64321"]


def test_a_row_has_its_result_or_why_it_failed(folder: Folder) -> None:
    """One line each, with the name of the task that failed."""
    rows = {row.summary.id[-1]: row for row in select_page(folder.connection, ListQuery()).rows}
    assert [(rows[n].result, rows[n].why) for n in "12346"] == [
        ("0.97", ""),
        ("", "fit: KeyError: 'b'"),
        ("0.97", ""),
        ("", ""),
        ("", ""),
    ]


class Rows:
    """Something like a table."""

    def __repr__(self) -> str:
        """Return two lines."""
        return "   a  b\n0  1  2"


def test_a_table_is_told_by_its_type_and_a_text_by_its_words(folder: Folder) -> None:
    """Rows that are joined to one line say nothing."""
    table, text = folder.record("table", value_is=Rows()), folder.record("text", value_is="two\nlines")
    results = {row.summary.id: row.result for row in select_page(folder.connection, ListQuery()).rows}
    assert results[table].endswith("Rows")
    assert results[text] == "two lines"


def test_tags_are_listed_searched_and_changed(folder: Folder) -> None:
    """A tag is compared whole; those of the newest dispatches are first."""
    first, second = folder.record("tagged", tags=["paper", "a%b"]), folder.record("tagged", tags=["paper2"])
    assert folder.found(tag="paper") == [first[-1]]
    assert folder.found(text="paper") == [second[-1], first[-1]]
    assert select_group_page(folder.connection, ListQuery(group=True, tag="a%b")).groups[0].count == 1
    assert select_group_page(folder.connection, ListQuery(group=True)).tags == ["paper2", "paper", "a%b"]

    found = dispatch_rows.select_dispatch(folder.connection, first)
    assert found is not None
    key, before = found
    dispatch_rows.change_tags(folder.connection, key, TagsRequest(["night", "paper"], ["a%b"]))
    _, after = dispatch_rows.select_dispatch(folder.connection, first) or (0, before)
    assert (after.tags, after.version) == (["paper", "night"], before.version + 1)
    assert dispatch_rows.select_submission(folder.connection, key).tags == ["paper", "night"]


def test_groups_are_of_one_name_and_notebook(folder: Folder) -> None:
    """With their newest, how many there are, how they ended and how long they took."""
    page = select_group_page(folder.connection, ListQuery(group=True))
    assert (page.n_groups, page.matching, page.total) == (4, 5, 5)
    group = next(one for one in page.groups if one.count == 2)
    assert (group.newest.summary.id, group.failed) == ("id-00002", 1)
    assert [(bar.seconds, bar.status) for bar in group.spark] == [(1.0, "completed"), (9.0, "failed")]
    assert folder.found(name="sweep", notebook="/home/a/Study.ipynb") == ["2", "1"]
    assert select_group_page(folder.connection, ListQuery(group=True, text="ablation", sort="name")).n_groups == 2
    assert select_group_page(folder.connection, ListQuery(group=True, text="nothing")).groups == []
    folder.record("sweep", "cancelled", notebook="/home/a/Study.ipynb", inputs="C=4.0")
    group = next(one for one in select_group_page(folder.connection, ListQuery(group=True)).groups if one.count == 3)
    assert group.failed == 1  # one that somebody cancelled has not failed


def test_the_successor_of_a_dispatch_is_known(folder: Folder) -> None:
    """The newest of those that run it again."""
    found = select_newest_again(folder.connection, "id-00004")
    assert found is not None
    assert found.id == "id-00006"
    assert select_newest_again(folder.connection, "id-00001") is None


@pytest.mark.parametrize(
    ("recorded", "shown"),
    [
        ("{'args': (3,), 'kwargs': {'c': 0.5}}", "3, c=0.5"),
        ("{'args': (), 'kwargs': {'C': 2.0, 'name': 'x'}}", "C=2.0, name='x'"),
        ("{'args': ([1, 2], 'a'), 'kwargs': {}}", "[1, 2], 'a'"),
        ("{'args': (), 'kwargs': {}}", ""),
        ("{'args': ('cut…", ""),
        ("1", ""),
    ],
)
def test_inputs_are_shown_as_the_call_has_them(recorded: str, shown: str) -> None:
    """What is not of that form is not shown at all."""
    assert call_text(recorded) == shown


def test_a_row_is_one_short_line() -> None:
    """Long texts and texts of several lines are cut to one."""
    assert short("a\n  b") == "a b"
    assert len(short("x" * 1000)) == 120
