"""Texts for statuses, names, times and counts."""

from __future__ import annotations

import doctest

import pytest
from msgspec.structs import replace
from tests.view.graphs import summary

from covalab.core.model import Counts, Node, NodeKind
from covalab.view import words


def test_the_examples_in_the_docstrings_hold() -> None:
    """The examples in the docstrings hold."""
    assert doctest.testmod(words).failed == 0


@pytest.mark.parametrize(
    ("name", "kind", "shown"),
    [
        (":parameter:0.5", NodeKind.PARAMETER, "0.5"),
        (":electron_list:", NodeKind.LIST, "list"),
        (":sublattice:inner", NodeKind.SUBLATTICE, "inner"),
        (":load()[0]", NodeKind.ITEM, "load()[0]"),
        ("train", NodeKind.ELECTRON, "train"),
        (":pause_for:approval", NodeKind.PAUSE, "approval"),
        (":intervention_point:", NodeKind.POINT, "intervention point"),
        (":intervention_point:review", NodeKind.POINT, "review"),
        (":", NodeKind.ELECTRON, ":"),
    ],
)
def test_names_lose_the_marks_of_covalent(name: str, kind: NodeKind, shown: str) -> None:
    """A sublattice is `inner`, not `:sublattice:inner`."""
    assert words.pretty_name(Node(name, kind)) == shown


def test_a_dispatch_that_was_only_recorded_is_not_pending() -> None:
    """Its word is "Not started"."""
    assert words.summary_word(replace(summary(status="pending"), held=True)) == "Not started"
    assert words.summary_word(summary(status="pending")) == "Pending"


def test_a_dispatch_that_waits_for_its_time_says_when() -> None:
    """With the time zone, and only until it has begun."""
    waiting = replace(summary(status="pending"), held=True, starts_at=1_764_583_202.0)
    assert words.summary_word(waiting).startswith("Starts at 2025-12-01 ")
    assert words.summary_word(replace(waiting, held=False)) == "Pending"


def test_a_dispatch_that_is_paused_or_waits_says_so_until_it_is_over() -> None:
    """The word is "Paused" or "Waiting", not "Running"."""
    running = replace(summary(status="running"), counts=Counts(running=1, pending=1))
    assert words.summary_word(running) == "Running"
    assert words.summary_word(replace(running, waiting=1)) == "Waiting"
    assert words.summary_word(replace(running, waiting=1, counts=Counts(running=2))) == "Running"
    assert words.summary_word(replace(running, waiting=1, paused=True)) == "Paused"
    assert words.summary_word(replace(running, status="completed", paused=True)) == "Completed"
