"""What a cell returns for a name that it did not set, or cannot keep."""

from __future__ import annotations

import io
import json
import pickle
import sqlite3
import threading
from contextlib import closing
from typing import Any

import numpy as np
import pytest

from covalab.core.missing_values import Missing, storable_or_missing


def test_unset_travels_and_says_whose_it_is() -> None:
    """An `Missing` keeps name and electron through a pickle, and its text names both."""
    arrived = pickle.loads(pickle.dumps(Missing("y", "load")))

    assert (arrived.name, arrived.electron) == ("y", "load")
    assert repr(arrived) == "<no value for 'y': electron 'load' did not set it>"


def test_a_cell_that_needs_it_gets_a_name_error() -> None:
    """The error says who needs the value and who did not make it."""
    error = Missing("y", "load").needed_by("plot")

    assert isinstance(error, NameError)
    assert str(error) == "electron 'plot' needs 'y', but electron 'load' did not set it"
    assert error.name == "y"


@pytest.mark.parametrize("value", [1, "a", [1], {"a": np.ones(3)}, np.ones(3), len, json, int, lambda: 1, None])
def test_ordinary_values_are_kept(value: Any) -> None:
    """What a pickle can hold comes back as it is."""
    assert storable_or_missing(value, "x", "f") is value


@pytest.mark.parametrize(
    "value", [io.StringIO(), iter(x for x in [1]), threading.Lock()], ids=["file", "generator", "lock"]
)
def test_what_no_pickle_can_hold_is_replaced(value: Any) -> None:
    """An open file or a generator left behind is no failure; the stand-in names its type."""
    found = storable_or_missing(value, "x", "f")

    assert isinstance(found, Missing)
    assert "cannot be stored" in repr(found)


def test_a_connection_is_replaced() -> None:
    """A database connection is named in the stand-in's text."""
    with closing(sqlite3.connect(":memory:")) as connection:
        assert "sqlite3.Connection" in repr(storable_or_missing(connection, "db", "open"))
