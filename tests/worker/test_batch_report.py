"""Report of a running batch."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

from covalab.core.model import Outcome
from covalab.worker.batch_report import BatchReport


def test_what_took_longer_than_a_message_is_told_before_the_next_task_begins() -> None:
    """It does not run again if the next one ends the process; quick ones are told together, and may."""
    told: list[bytes] = []
    capture: Any = SimpleNamespace(stem="out")  # it names the files that a page reads
    report = BatchReport(1, capture, told.append, threading.Event())

    def ends(node: int, seconds: float) -> int:
        report.begin(node)
        before = len(told)
        report.end(Outcome(node, "completed", 100.0, 100.0 + seconds))
        return len(told) - before

    assert [ends(0, 0.0001), ends(1, 0.02), ends(2, 0.0001)] == [0, 1, 0]
    report.close()
    assert len(told) == 3  # the start of the first, two outcomes, the third
