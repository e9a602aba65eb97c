"""The id of a dispatch is a str everywhere."""

from __future__ import annotations

import copy
import json
import pickle

from covalab.sdk.results.handle import DispatchHandle


def test_it_is_the_id() -> None:
    """Equality, hash, formatting, joining, JSON: all those of the text."""
    it = DispatchHandle("d-1")

    assert it == "d-1"
    assert len({it, "d-1"}) == 1
    assert f"{it}" == "d-1"
    assert json.loads(json.dumps([it])) == ["d-1"]
    assert repr(it) == "'d-1'"
    assert type(str(it)) is str


def test_pickled_or_copied_it_is_the_plain_id() -> None:
    """A handle that was saved needs no covalab to be read."""
    it = DispatchHandle("d-1")

    assert type(pickle.loads(pickle.dumps(it))) is str
    assert b"covalab" not in pickle.dumps(it)
    assert type(copy.deepcopy(it)) is str
