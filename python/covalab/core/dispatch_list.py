"""List of dispatches for the side bar: what is asked, and pages of rows and of groups. Pure."""

from __future__ import annotations

import re
from typing import Annotated, Final, Literal

import msgspec

from covalab.core.model import DispatchId, DispatchSummary, Status

MOST_ROWS: Final = 200
MOST_TAGS: Final = 50

SPARK: Final = 30
"""The most durations of a group in an answer: the newest."""

_TEXT_SHOWN: Final = 120
_CALL: Final = re.compile(r"^\{'args': \((.*?),?\), 'kwargs': \{(.*)\}\}$", re.DOTALL)
_KEY: Final = re.compile(r"'([^'\W]\w*)': ")

Sort = Literal["newest", "oldest", "longest", "name"]
Only = Literal["", "active", "completed", "failed", "failed_tasks", "cancelled_tasks"]


class ListQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Query of the list: which outermost dispatches, in which order, and which page of them.

    `text` is looked for in name, notebook, inputs, tags and id, each of its words in any of them. `name` and `notebook`
    are compared whole, unless `group` is set; so is `tag`, with each tag, always.
    `failed` are those that failed or were cancelled, `failed_tasks` those with one.
    """

    text: Annotated[str, msgspec.Meta(max_length=200)] = ""
    only: Only = ""
    sort: Sort = "newest"
    offset: Annotated[int, msgspec.Meta(ge=0, le=10**9)] = 0
    count: Annotated[int, msgspec.Meta(ge=1, le=MOST_ROWS)] = 50
    group: bool = False
    name: Annotated[str, msgspec.Meta(max_length=1000)] = ""
    notebook: Annotated[str, msgspec.Meta(max_length=4000)] = ""
    tag: Annotated[str, msgspec.Meta(max_length=64)] = ""


class SummaryQuery(msgspec.Struct, frozen=True):
    """Query of summaries: of outermost dispatches, or of those below `root`; newest first unless `oldest`.

    `since` leaves out those that were made before, `schedule` those that are no runs of this series, `tag` those
    without it. With `prefix` they are all, at any depth, whose ids begin so.
    """

    statuses: tuple[Status, ...] = ()
    name: str | None = None
    offset: int = 0
    count: int = 50
    root: str | None = None
    since: float = 0.0
    oldest: bool = False
    schedule: str | None = None
    tag: str | None = None
    prefix: str = ""


class DispatchRow(msgspec.Struct, frozen=True):
    """Row of the list: a summary, the result as a short text, and why it failed: a task's name and its error."""

    summary: DispatchSummary
    result: str = ""
    why: str = ""


class SparkBar(msgspec.Struct, frozen=True, array_like=True):
    """One run of a group: how long it took in seconds, and how it ended."""

    seconds: float
    status: Status
    id: DispatchId


class DispatchGroup(msgspec.Struct, frozen=True):
    """Dispatches of one name and notebook: the newest, how many, how many failed, and the newest runs by age."""

    newest: DispatchRow
    count: int
    failed: int
    spark: list[SparkBar]


class DispatchPage(msgspec.Struct, frozen=True):
    """Page of rows: those asked for, how many match, and how many dispatches there are."""

    rows: list[DispatchRow]
    matching: int
    total: int


class GroupPage(msgspec.Struct, frozen=True):
    """Page of groups: those asked for, how many groups match, and how many dispatches match, and how many there are."""

    groups: list[DispatchGroup]
    n_groups: int
    matching: int
    total: int
    tags: list[str] = []  # all that outermost dispatches have, those of the newest first


def call_text(inputs: str) -> str:
    """Return the inputs of a dispatch as its call has them: `3, c=0.5`."""
    found = _CALL.match(inputs)
    if found is None:
        return ""
    args, kwargs = found.groups()
    return short(", ".join(filter(None, (args, _KEY.sub(r"\1=", kwargs)))))


def short(text: str) -> str:
    """Return a text in one line, cut to the length of a row."""
    line = " ".join(text.split())
    return line if len(line) <= _TEXT_SHOWN else f"{line[: _TEXT_SHOWN - 1]}…"
