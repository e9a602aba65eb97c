"""What imported packages read from the environment is recorded, and the environment is as before."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from covalab.core.process_variables import ALL_NAMES
from covalab.worker.variables import current_variables, recorded_variables, set_variables


@pytest.mark.parametrize(
    ("read", "names"),
    [
        (lambda: os.environ.get("A"), {"A"}),
        (lambda: os.getenv("A"), {"A"}),
        (lambda: "A" in os.environ, {"A"}),
        (lambda: os.environb.get(b"A\xff"), {"A\udcff"}),
        (lambda: os.environ.pop("A", None), {"A"}),
        (lambda: None, set()),
    ],
)
def test_names_that_are_read_are_recorded(read: Callable[[], Any], names: set[str]) -> None:
    """However they are read; also those that are not there."""
    kinds = [type(os.environ), type(os.environb)]
    with recorded_variables() as recorded:
        read()

    assert recorded.read == names
    assert [type(os.environ), type(os.environb)] == kinds


@pytest.mark.parametrize(
    "read", [lambda: dict(os.environ), lambda: {**os.environ}, lambda: list(os.environ.items()), os.environ.copy]
)
def test_going_through_all_is_recorded_as_such(read: Callable[[], Any]) -> None:
    """A package that looks for names with a certain beginning may see any."""
    with recorded_variables() as recorded:
        read()

    assert ALL_NAMES in recorded.read


def test_what_an_import_sets_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task of a prepared process would lack it otherwise."""
    monkeypatch.setenv("COVALAB_TEST_GONE", "1")
    monkeypatch.delenv("COVALAB_TEST_NEW", raising=False)
    with recorded_variables() as recorded:
        os.environ.setdefault("COVALAB_TEST_NEW", "1")
        del os.environ["COVALAB_TEST_GONE"]

    assert recorded.changed == {b"COVALAB_TEST_NEW": b"1", b"COVALAB_TEST_GONE": None}
    monkeypatch.delenv("COVALAB_TEST_NEW")


def test_child_processes_and_the_clock_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that no system call takes is left out, and harms no other."""
    import time

    before = current_variables()
    try:
        set_variables({**before, b"A B": b"c=d", b"N\xff": b"\xfe", b"TZ": b"XYZ-5", b"": b"no name"})
        printed = subprocess.run(["env", "-0"], check=True, capture_output=True).stdout.split(b"\0")
        assert {b"A B=c=d", b"N\xff=\xfe"} <= set(printed)
        assert time.timezone == -5 * 3600
    finally:
        set_variables(before)
    assert current_variables() == before
    assert b"A B=c=d" not in subprocess.run(["env", "-0"], check=True, capture_output=True).stdout
    assert sys.executable
