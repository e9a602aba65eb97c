"""Alarms go off when it is time, whatever becomes of the clock, and the dispatcher has one clock."""

from __future__ import annotations

import ast
from pathlib import Path

import covalab.dispatcher
from covalab.core.model import DispatchId
from covalab.dispatcher.alarms import Alarms
from covalab.dispatcher.clock import Clock

A, B = DispatchId("a"), DispatchId("b")
WALL_CLOCKS = {("time", "time"), ("time", "time_ns"), ("datetime", "now"), ("datetime", "utcnow"), ("date", "today")}


class Hands:
    """The two readings of a clock."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.elapsed = 5.0
        self.clock = Clock(lambda: self.now, lambda: self.elapsed)

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
        self.elapsed += seconds


def readings_of_the_wall_clock(source: str) -> list[int]:
    """Return the lines of a module that read the time of day."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Attribute):
            whose = node.value.id if isinstance(node.value, ast.Name) else node.value.attr
            if (whose, node.attr) in WALL_CLOCKS:
                found.append(node.lineno)
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            found += [node.lineno for name in node.names if name.name in ("time", "time_ns")]
    return found


def test_the_dispatcher_reads_the_time_of_day_in_one_place() -> None:
    """What a test sets is what everything in the package sees."""
    folder = Path(covalab.dispatcher.__file__).parent
    lines = {path.name: readings_of_the_wall_clock(path.read_text()) for path in folder.rglob("*.py")}
    assert len(lines) > 20
    assert {name for name, found in lines.items() if found} == {"clock.py"}
    assert len(lines["clock.py"]) == 1


def test_alarms_of_one_moment_go_off_in_the_order_in_which_they_were_set() -> None:
    """Not earlier, and each once."""
    hands = Hands()
    alarms = Alarms(hands.clock, lambda: None)
    for dispatch in (B, A):
        alarms.set_alarm(hands.now + 10, dispatch)
    alarms.set_alarm(hands.now + 5, A)
    assert alarms.take_due() == []
    hands.move(10)
    assert alarms.take_due() == [(A, 1_000_005.0), (B, 1_000_010.0), (A, 1_000_010.0)]
    assert alarms.take_due() == []


def test_a_delay_is_over_by_whichever_clock_comes_first() -> None:
    """One that is set back delays no delay; a machine that slept has let the time pass; neither goes off twice."""
    hands = Hands()
    alarms = Alarms(hands.clock, lambda: None)
    alarms.set_alarm(hands.now + 10, A, is_delay=True)
    alarms.set_alarm(hands.now + 10, B)
    hands.now -= 24 * 3600
    hands.move(10)
    assert alarms.take_due() == [(A, 1_000_010.0)]
    hands.now = 1_000_010.0
    assert alarms.take_due() == [(B, 1_000_010.0)]

    alarms.set_alarm(hands.now + 10, A, is_delay=True)
    hands.now += 10
    assert alarms.take_due() == [(A, 1_000_020.0)]
    hands.move(100)
    assert alarms.take_due() == []
