"""Covalent's package of helpers for executors."""

from __future__ import annotations

from covalab.executor.utils.enums import Signals
from covalab.worker.context import get_context

__all__ = ["Signals", "get_context"]
