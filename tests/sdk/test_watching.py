"""Waiting until the triggers of a dispatch watch."""

from __future__ import annotations

import warnings
from types import SimpleNamespace
from typing import Any, cast

import pytest

from covalab.client import Client
from covalab.core.errors import DispatcherSilent
from covalab.sdk.dispatching.watching import await_watching


def answering(*states: str) -> Client:
    """Return a client that answers with triggers in these states."""
    found = [SimpleNamespace(name=f"Trigger{number}", state=state) for number, state in enumerate(states)]
    return cast("Client", SimpleNamespace(triggers=lambda dispatch, wait: found))


def test_what_does_not_watch_in_time_is_named() -> None:
    """With a warning, for the caller of what waits; what watches, has ended or failed needs none."""

    def dispatching() -> None:
        await_watching(answering("watching", "starting", "failed", "starting"), "some-id")

    with pytest.warns(RuntimeWarning, match=r"Trigger1, Trigger3 of dispatch some-id does not watch yet") as caught:
        dispatching()
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        await_watching(answering("watching", "ended", "failed", "stopped"), "some-id")


def test_a_dispatcher_that_went_away_does_not_keep_the_id_from_the_caller() -> None:
    """The dispatch is recorded, and its triggers watch when the next dispatcher runs."""

    def silent(dispatch: str, wait: float) -> Any:
        raise DispatcherSilent

    await_watching(cast("Client", SimpleNamespace(triggers=silent)), "some-id")
