"""Loggers that know their task: both ways to ask for one, what they write, and where."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

import covalab as ct
from covalab.sdk.tasks.task_logging import ROOT

TASK = "2e02bb27-15c9-41ec-a1bc-2f4a8a8a8a8a:3"


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """Return what is written."""
    stream = io.StringIO()
    ct.logging.configure("INFO", as_json=True, stream=stream)
    yield stream
    logger = logging.getLogger(ROOT)
    logger.handlers.clear()
    logger.propagate = True
    logger.setLevel(logging.NOTSET)


def test_a_logger_is_bound_as_in_the_document(lines: io.StringIO) -> None:
    """With a name and a task, with the task's id alone, and with more."""
    logger = ct.logging.bind_task("result-checker", task_id=TASK)
    logger.info("Retrieved result with status: %s", "COMPLETED")
    ct.logging.bind_task(TASK, attempt=2).bind(step="a").warning("again")
    logger.debug("left out")

    first, second = map(json.loads, lines.getvalue().splitlines())
    assert first["message"] == "Retrieved result with status: COMPLETED"
    assert (first["logger"], first["level"], first["task_id"]) == (f"{ROOT}.result-checker", "INFO", TASK)
    assert (second["logger"], second["task_id"], second["attempt"], second["step"]) == (ROOT, TASK, 2, "a")


def test_a_context_says_when_it_began_and_how_it_ended(lines: io.StringIO) -> None:
    """With the seconds it took; what it raises comes through."""
    with ct.logging.task_context(TASK, "fetch") as logger:
        logger.info("inside")
    with pytest.raises(ZeroDivisionError), ct.logging.task_context(TASK, "divide"):
        _ = 1 / 0

    told = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert [(it["level"], it["operation"]) for it in told] == [
        *(("INFO", "fetch"), ("INFO", "fetch"), ("INFO", "fetch")),
        *(("INFO", "divide"), ("ERROR", "divide")),
    ]
    assert told[2]["seconds"] >= 0
    assert "ZeroDivisionError" in told[4]["message"]


def test_configuring_again_replaces_what_was_said_before(lines: io.StringIO) -> None:
    """Each line is written once, as text where JSON is not asked for."""
    other = io.StringIO()
    ct.logging.configure("warning", stream=other)
    ct.logging.bind_task(TASK).error("broken")
    ct.logging.bind_task(TASK).info("left out")

    assert not lines.getvalue()
    assert other.getvalue().endswith(f"Z ERROR {ROOT} task_id={TASK}: broken\n")
    assert other.getvalue().count("\n") == 1
    with pytest.raises(ValueError, match="LOUD"):
        ct.logging.configure("loud")
