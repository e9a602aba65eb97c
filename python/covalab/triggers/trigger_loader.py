"""Trigger classes by name, in the form of Covalent's module of this name."""

from __future__ import annotations

from covalab.triggers import database, dir_trigger, sqlite, time  # noqa: F401 - each enters its class
from covalab.triggers.base import BaseTrigger, available_triggers

__all__ = ["TriggerLoader", "available_triggers"]

available_triggers.setdefault("BaseTrigger", BaseTrigger)  # type: ignore[type-abstract]


class TriggerLoader:
    """Trigger classes by name: each object of this class is a view of `available_triggers`."""

    available_triggers = available_triggers

    def __getitem__(self, key: str) -> type[BaseTrigger] | None:
        return self.available_triggers.get(key)

    def __setitem__(self, key: str, value: type[BaseTrigger]) -> None:
        self.available_triggers[key] = value
