"""People, retries and waits at random, while the dispatcher is killed again and again: what was acknowledged holds."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

import covalab as ct
from covalab.client import Client
from covalab.core.errors import CovalabError

_EARLY_KILLS = 3  # in a row, before a worker is up: workers take seconds to start, and without them nothing runs
_SECONDS = 120  # for everything to end
_SECONDS_WITHOUT_KILLS = 60  # the last of these


@ct.electron(retries=3, retry_delay=0.05)
def flaky(mark: str, n_failures: int) -> int:
    """Fail so many times, and say each time that it ran."""
    with open(mark, "a") as file:  # noqa: PTH123 - O_APPEND, one short line: atomic
        file.write("run\n")
    n_runs = len(Path(mark).read_text().split())
    ct.append_state("runs", n_runs)
    ct.put_into_stream(n_runs)
    if n_runs <= n_failures:
        message = f"run {n_runs} fails"
        raise ConnectionError(message)
    return n_runs


@ct.electron
def decided(value: int, answer: Any) -> dict[str, Any]:
    """Put together what was made and what was said."""
    said = [record["payload"] for record in ct.get_interventions()]
    ct.set_state("said", said)
    return {"value": value, "answer": answer, "said": said}


@ct.lattice(intervention_mode="auto")
def asking(mark: str, n_failures: int) -> object:
    """Try until it works, ask somebody, go on."""
    value = flaky(mark, n_failures)
    return decided(value, ct.pause_for("approval", {"made": value}))


class Crowd:
    """Some dispatches, and those who answer, interrupt and kill at random."""

    def __init__(self, client: Client, folder: Path, draw: random.Random) -> None:
        self.client, self.folder, self.draw = client, folder, draw
        self.runs: dict[str, int] = {}
        self.answers: dict[str, Any] = {}
        self.said: dict[str, list[int]] = {}
        self.kills = self.early_kills = 0

    def dispatch(self) -> None:
        """Dispatch one, at once or in a moment."""
        n_failures = self.draw.randrange(3)
        mark = self.folder / f"mark-{len(self.runs)}"
        eta = timedelta(seconds=self.draw.random()) if self.draw.random() < 0.3 else None
        dispatch = ct.dispatch(asking, eta=eta)(str(mark), n_failures)
        self.runs[dispatch] = n_failures
        self.said[dispatch] = []

    def answer(self, dispatch: str) -> None:
        """Answer what it asks, twice with one request: the second time changes nothing."""
        for one in ct.get_interrupts(dispatch):
            value = self.draw.choice([True, False, {"rate": self.draw.random()}, None])
            request = f"request-{dispatch}"
            record = ct.continue_with(dispatch, one["id"], value, request_id=request)
            self.answers[dispatch] = value
            assert ct.continue_with(dispatch, one["id"], value, request_id=request) == record

    def say(self, dispatch: str) -> None:
        """Say something, as long as nobody has answered: then it is told to whoever comes next."""
        if dispatch not in self.answers and ct.get_interrupts(dispatch):
            number = len(self.said[dispatch])
            ct.intervene(dispatch, number)
            self.said[dispatch].append(number)

    def hold(self, dispatch: str) -> None:
        """Pause it for a moment."""
        ct.pause(dispatch)
        time.sleep(self.draw.random() * 0.1)
        ct.resume(dispatch)

    def kill(self) -> None:
        """Kill the dispatcher, unless too many in a row were killed early; the next request starts another."""
        with suppress(CovalabError, psutil.NoSuchProcess):
            status = self.client.status()
            pid = status.pid
            self.early_kills = 0 if any(pool.workers for pool in status.pools) else self.early_kills + 1
            if self.early_kills > _EARLY_KILLS:
                return
            os.kill(pid, signal.SIGKILL)
            psutil.Process(pid).wait(10)
            self.kills += 1

    def act(self, *, kills: bool = True) -> None:
        """Do one thing at random to one of those that have not ended."""
        if self.draw.random() < 0.05 and kills:
            self.kill()
            return
        open_ones = [one for one in self.runs if str(ct.get_result(one, status_only=True)["status"]) == "RUNNING"]
        if not open_ones:
            return
        dispatch = self.draw.choice(open_ones)
        # It may have ended, or not have begun, since it was looked at: then it says so, and nothing has happened.
        with suppress(CovalabError):
            self.draw.choice([self.answer, self.answer, self.say, self.hold])(dispatch)


def soak(client: Client, folder: Path, seed: int, n_dispatches: int) -> None:
    """Let a crowd loose; in the end everything has ended as its people wanted it."""
    print(f"seed {seed}")
    crowd = Crowd(client, folder, random.Random(seed))
    for _ in range(n_dispatches):
        crowd.dispatch()
        for _ in range(4):
            crowd.act()
    deadline = time.monotonic() + _SECONDS
    while any(ct.get_result(one, status_only=True)["status"] != "COMPLETED" for one in crowd.runs):
        # One text: pytest cuts the middle out of a list, so that the start of one summary runs into the end of another.
        assert time.monotonic() < deadline, "\n".join(str(client.summary(one)) for one in crowd.runs)
        # A restart would also mend a start that was lost, so the last dispatcher has to do without.
        crowd.act(kills=time.monotonic() < deadline - _SECONDS_WITHOUT_KILLS)
        time.sleep(0.02)
    print(f"{crowd.kills} kills")
    for dispatch, n_failures in crowd.runs.items():
        result = ct.get_result(dispatch)
        assert result.result["answer"] == crowd.answers[dispatch]
        assert result.result["said"] == crowd.said[dispatch] == result.get_state("said")
        assert result.result["value"] > n_failures
        n_runs = max(result.get_state("runs"))
        assert n_runs <= n_failures + 1 + crowd.kills  # a run is repeated only if a kill hit it
        stream = list(result.execution.get_runtime_stream())
        assert stream == list(ct.get_execution(dispatch).get_runtime_stream())
        assert result.snapshot == ct.get_result(dispatch).snapshot


def test_what_people_were_told_holds_through_kills(own: Client, tmp_path: Path) -> None:
    """An acknowledged answer, intervention or pause is neither lost nor done twice."""
    soak(own, tmp_path, random.randrange(10**6), 12)


@pytest.mark.nightly
@pytest.mark.timeout(1200)
def test_what_people_were_told_holds_through_many_kills(own: Client, tmp_path: Path) -> None:
    """The same with more of everything."""
    soak(own, tmp_path, random.randrange(10**6), 300)
