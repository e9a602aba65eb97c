"""Signals that Covalent's executors and dispatcher exchange; here nothing sends one."""

from __future__ import annotations

import enum

__all__ = ["Signals"]


class Signals(enum.Enum):
    """Requests of an executor to Covalent's dispatcher."""

    GET = 0
    PUT = 1
    EXIT = 2
