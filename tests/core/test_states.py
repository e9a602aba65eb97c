"""The tables of states are complete, and the page that shows them is the one they make today."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import pytest

from covalab.core.lifecycle import (
    DISPATCH_STATUS_TEXT,
    DISPATCH_TRANSITIONS,
    EVENT_TEXT,
    NODE_STATUS_TEXT,
    TERMINAL,
    TRANSITIONS,
)
from covalab.core.model import Status
from covalab.core.protocol import (
    BATCH_TRANSITIONS,
    POOL_TRANSITIONS,
    CancelBatch,
    DispatchesEnded,
    FromPool,
    Ping,
    Pong,
    PoolFailed,
    PoolReady,
    RunBatch,
    StopPool,
    ToPool,
    WorkersChanged,
    WorkWaits,
)

DOCS = Path(__file__).parents[2] / "python" / "docs"


def test_the_page_is_up_to_date() -> None:
    """`python python/docs/generate_states.py > python/docs/states.md` after a change of a table."""
    spec = importlib.util.spec_from_file_location("generate_states", DOCS / "generate_states.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)

    assert script.page() == (DOCS / "states.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("table", "first"),
    [
        (TRANSITIONS, "pending"),
        (DISPATCH_TRANSITIONS, "pending"),
        (BATCH_TRANSITIONS, "sent"),
        (POOL_TRANSITIONS, "starting"),
    ],
)
def test_every_state_is_reached_and_can_end(table: Mapping[tuple[Any, Any], Any], first: str) -> None:
    """From the first state each other one can be reached, and from each the end."""
    states = {first, *table.values(), *(before for before, _ in table)}
    ends = {state for state in states if not any(before == state for before, _ in table)}
    reached = {first}
    ending = set(ends)
    for _ in states:
        reached |= {after for (before, _), after in table.items() if before in reached}
        ending |= {before for (before, _), after in table.items() if after in ending}

    assert ends
    assert reached == ending == states


def test_every_status_and_event_has_a_text() -> None:
    """What is in a table is explained, and nothing else is."""
    assert set(NODE_STATUS_TEXT) == set(get_args(Status))
    assert set(DISPATCH_STATUS_TEXT) == set(get_args(Status)) - {"skipped"}
    assert set(EVENT_TEXT) == {event for _, event in (*TRANSITIONS, *DISPATCH_TRANSITIONS)}
    assert {status for status, _ in DISPATCH_TRANSITIONS}.isdisjoint(TERMINAL)


def test_every_message_has_its_place() -> None:
    """A pool knows all messages; those about a batch are in the table of batches too."""
    messages = {*get_args(ToPool), *get_args(FromPool)}
    about_the_pool = {PoolReady, PoolFailed, StopPool, WorkersChanged, DispatchesEnded, Ping, Pong, WorkWaits}

    assert {kind for _, kind in POOL_TRANSITIONS} == messages
    assert {kind for _, kind in BATCH_TRANSITIONS} == messages - about_the_pool - {RunBatch}
    assert BATCH_TRANSITIONS["sent", CancelBatch] == "sent"
