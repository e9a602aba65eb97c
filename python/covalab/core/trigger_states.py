"""Structs of watching triggers: their states, and what a trigger host and the dispatcher say to each other."""

from __future__ import annotations

from typing import Literal

import msgspec

from covalab.core.model import DispatchId, Trigger

TriggerStatus = Literal["starting", "watching", "stopped", "ended", "failed"]  # recorded as "watching" while starting


class TriggerState(msgspec.Struct, frozen=True):
    """State of a trigger. `error` is a traceback, or, while it watches, what it has trouble with."""

    id: str
    dispatch: DispatchId
    name: str
    state: TriggerStatus
    error: str = ""
    fired: list[DispatchId] = []  # the newest at the end; very old ones are left out


class TriggerWatch(msgspec.Struct, frozen=True):
    """One trigger that a trigger host watches, and the dispatch that it runs."""

    trigger: Trigger
    dispatch: DispatchId


class TriggerWatches(msgspec.Struct, frozen=True):
    """All triggers that a trigger host watches now, and the number to ask from next."""

    number: int
    watches: list[TriggerWatch]


class Firing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A trigger saw what it waits for. `request` is the id of the dispatch that is made for it, if one is made.

    `host` is the life of the host that says so; None: somebody else does.
    """

    request: DispatchId
    host: int | None = None


class TriggerReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Report of a trigger host about a trigger."""

    host: int
    state: TriggerStatus
    error: str = ""
