"""Statuses are Covalent's texts, and behave as Covalent's do."""

from __future__ import annotations

from typing import get_args

import pytest

import covalab as ct
from covalab.core.covalent_status import Status, shown
from covalab.core.lifecycle import TERMINAL
from covalab.core.model import Status as CoreStatus


def test_a_status_is_its_text() -> None:
    """Equal to the text and to another of the same text, printed as the text, false only when new."""
    assert ct.status.COMPLETED == "COMPLETED"
    assert Status("COMPLETED") == ct.status.COMPLETED
    assert ct.status.COMPLETED != ct.status.FAILED
    assert ct.status.COMPLETED != 3
    assert str(ct.status.DISPATCHING_SUBLATTICE) == "DISPATCHING"
    assert not ct.status.NEW_OBJECT
    assert ct.status.RUNNING


def test_a_status_is_no_key() -> None:
    """As in Covalent, it cannot be hashed."""
    with pytest.raises(TypeError):
        hash(ct.status.COMPLETED)


@pytest.mark.parametrize("core", get_args(CoreStatus))
def test_every_status_of_the_core_is_one_of_covalents(core: CoreStatus) -> None:
    """The words exist, and the end is the end in both; a skipped node looks new, as in Covalent."""
    it = shown(core)

    assert it == getattr(ct.status, it.STATUS)
    assert ct.status.is_terminal(it) == (core in TERMINAL and core != "skipped")
