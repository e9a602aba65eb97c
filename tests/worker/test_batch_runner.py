"""Batches run in a process of their own, since a worker takes over the two output streams of its process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from covalab.core.codec import decode, digest_of, encode, serialize_small
from covalab.core.model import Digest, DispatchId, Outcome
from covalab.core.protocol import BATCH_TRANSITIONS, Argument, Batch, BatchState, Outcomes, TaskSpec, TaskStarted
from covalab.worker.capture import OUTPUT_LIMIT

DRIVER = """
import sys
import msgspec
from covalab.core.protocol import BATCH_TRANSITIONS, BatchState, Batch
from covalab.worker.batch_runner import TaskWorker
batches = msgspec.msgpack.decode(open(sys.argv[1], "rb").read(), type=list[Batch])
worker = TaskWorker(batches[0].spool)
told = []
for batch in batches:
    worker.run(batch, told.append)
open(sys.argv[2], "wb").write(msgspec.msgpack.encode(told))
"""


class Batches:
    """A worker process to be: collects batches, runs them, gives back what it told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.batches: list[Batch] = []

    def add(self, *tasks: TaskSpec, code: dict[Digest, bytes], budget: float = 60.0) -> None:
        """Add a batch."""
        blobs, spool = str(self.folder / "blobs"), str(self.folder / "spool")
        self.batches.append(
            Batch(len(self.batches), DispatchId("d"), list(tasks), code, budget, str(self.folder), [], blobs, spool)
        )

    def run(self) -> list[TaskStarted | Outcomes]:
        """Run all batches in one fresh process and return its messages in order."""
        given, told = self.folder / "batches", self.folder / "told"
        given.write_bytes(msgspec.msgpack.encode(self.batches))
        subprocess.run([sys.executable, "-c", DRIVER, str(given), str(told)], check=True, timeout=240)
        encoded = msgspec.msgpack.decode(told.read_bytes(), type=list[bytes])
        messages = [msgspec.msgpack.decode(message, type=TaskStarted | Outcomes) for message in encoded]
        states: dict[int, BatchState] = {batch.id: "sent" for batch in self.batches}
        for message in messages:
            states[message.batch] = BATCH_TRANSITIONS[states[message.batch], type(message)]
        return messages

    def outcomes(self) -> dict[int, Outcome]:
        """Run all batches and return the outcome of each node."""
        payloads = [message.payload for message in self.run() if isinstance(message, Outcomes)]
        found = [outcome for payload in payloads for outcome in msgspec.msgpack.decode(payload, type=list[Outcome])]
        assert len({outcome.node for outcome in found}) == len(found), "an outcome was told twice"
        return {outcome.node: outcome for outcome in found}


@pytest.fixture
def batches(tmp_path: Path) -> Batches:
    """Return a worker without batches."""
    return Batches(tmp_path)


def calls(*functions: Callable[..., Any]) -> tuple[list[TaskSpec], dict[Digest, bytes]]:
    """Return a task without inputs for each function, numbered from 0, and their code."""
    code = {}
    tasks = []
    for node, function in enumerate(functions):
        data = encode(function).join()
        digest = digest_of([data])
        code[digest] = data
        tasks.append(TaskSpec(node, function.__name__, digest, [], {}))
    return tasks, code


def run(batches: Batches, *functions: Callable[..., Any]) -> dict[int, Outcome]:
    """Run functions one after the other in one batch."""
    tasks, code = calls(*functions)
    batches.add(*tasks, code=code)
    return batches.outcomes()


def value(outcome: Outcome) -> Any:
    """Open the inline value of an outcome."""
    assert outcome.value is not None, outcome.failure
    assert outcome.value.data is not None
    return decode(outcome.value.data)


def failure(outcome: Outcome) -> Any:
    """Return why an outcome is a failure."""
    assert (outcome.status, outcome.value) == ("failed", None)
    assert outcome.failure is not None
    return outcome.failure


def test_what_a_task_prints_is_its_own_whoever_prints_it(batches: Batches) -> None:
    """Python, file descriptors, child processes and C all end up at the node that was running."""

    def python() -> None:
        print("from print")
        print("to stderr", file=sys.stderr)

    def descriptors() -> None:
        import os

        os.write(1, b"from write")
        os.write(2, b"err from write")

    def child() -> None:
        import subprocess

        subprocess.run(["sh", "-c", "echo from child; echo err >&2"], check=True)

    def library() -> None:
        import ctypes

        ctypes.CDLL(None).printf(b"from C %d\n", 42)

    def silent() -> None:
        pass

    outcomes = run(batches, python, silent, descriptors, child, library, silent)

    printed = [(outcomes[node].stdout, outcomes[node].stderr) for node in range(6)]
    assert printed == [
        ("from print\n", "to stderr\n"),
        ("", ""),
        ("from write", "err from write"),
        ("from child\n", "err\n"),
        ("from C 42\n", ""),
        ("", ""),
    ]


def test_huge_output_keeps_both_ends(batches: Batches) -> None:
    """The middle is left out, and the text says how much."""

    def chatty() -> None:
        print("first line")
        for _ in range(30):
            print("x" * 100_000)
        print("last line")

    text = run(batches, chatty)[0].stdout

    assert text.startswith("first line\n")
    assert text.endswith("last line\n")
    assert "bytes left out" in text
    assert len(text) < OUTPUT_LIMIT + 100


def test_output_that_is_no_text_is_shown_as_far_as_it_goes(batches: Batches) -> None:
    """Bytes that are not UTF-8 are replaced."""

    def binary() -> None:
        import os

        os.write(1, b"a\xff\xfeb")
        print("\udcff")

    assert run(batches, binary)[0].stdout == "a\ufffd\ufffdb\\udcff\n"


def test_a_task_that_ruins_the_streams_harms_only_itself(batches: Batches) -> None:
    """Closed, replaced or redirected: the next task prints as if nothing had been."""

    def closes_stream() -> None:
        print("before")
        sys.stdout.close()
        sys.stderr.close()

    def closes_descriptor() -> None:
        import os

        os.close(1)

    def replaces() -> None:
        import io

        sys.stdout = io.StringIO()
        print("into a string")

    def points_elsewhere() -> None:
        import os

        fd = os.open(os.devnull, os.O_WRONLY)
        os.dup2(fd, 1)
        print("into nothing")

    def prints() -> None:
        print("hello")
        print("error", file=sys.stderr)

    ruining = [closes_stream, closes_descriptor, replaces, points_elsewhere]
    outcomes = run(batches, *[function for ruin in ruining for function in (ruin, prints)])

    assert [outcomes[node].status for node in range(8)] == ["completed"] * 8
    assert [(outcomes[node].stdout, outcomes[node].stderr) for node in (1, 3, 5, 7)] == [("hello\n", "error\n")] * 4
    assert outcomes[0].stdout == "before\n"


def test_leaving_ends_the_task_and_not_the_worker(batches: Batches) -> None:
    """`sys.exit`, `KeyboardInterrupt` and a generator's end are failures like any other."""

    def leaves() -> None:
        sys.exit(3)

    def interrupts() -> None:
        raise KeyboardInterrupt

    def fine() -> int:
        return 7

    outcomes = run(batches, leaves, interrupts, fine)

    assert [failure(outcomes[node]).exception for node in (0, 1)] == ["SystemExit", "KeyboardInterrupt"]
    assert value(outcomes[2]) == 7


def test_an_exception_whose_text_cannot_be_made_is_still_told(batches: Batches) -> None:
    """`__str__` may raise, be endless, or contain what is no text."""

    def sly() -> None:
        class SlyError(Exception):
            def __str__(self) -> str:
                raise RuntimeError

        raise SlyError

    def long() -> None:
        raise ValueError("begin" + "x" * 10_000_000 + "end")

    def half_a_pair() -> None:
        message = "file \udcff"
        raise OSError(message)

    outcomes = run(batches, sly, long, half_a_pair)

    assert "__str__ raised" in failure(outcomes[0]).message
    assert "SlyError" in failure(outcomes[0]).exception
    message = failure(outcomes[1]).message
    assert (message[:5], message[-3:], len(message) < 20_000) == ("begin", "end", True)
    assert len(outcomes[1].stderr) < 200_000
    assert failure(outcomes[2]).message == "file \\udcff"


def test_a_file_name_that_is_not_utf8_is_a_value(batches: Batches) -> None:
    """What Python reads such a name as comes back as it was."""

    def names() -> list[str]:
        return ["caf\udce9", "\ud800"]

    assert value(run(batches, names)[0]) == ["caf\udce9", "\ud800"]


def test_a_coroutine_is_awaited(batches: Batches) -> None:
    """An `async def` gives its value; its traceback begins in the user's code."""

    async def double() -> int:
        import asyncio

        await asyncio.sleep(0)
        return 42

    async def fails() -> None:
        message = "async"
        raise ValueError(message)

    outcomes = run(batches, double, fails)

    assert value(outcomes[0]) == 42
    trace = failure(outcomes[1]).traceback
    assert "in fails" in trace
    assert "asyncio" not in trace


def test_a_traceback_shows_the_users_frames(batches: Batches) -> None:
    """Nothing of covalab is in it, the cause is, and stderr ends with it."""

    def inner() -> None:
        message = "inner"
        raise KeyError(message)

    def outer() -> None:
        print("working", file=sys.stderr)
        try:
            inner()
        except KeyError as error:
            message = "outer"
            raise ValueError(message) from error

    outcome = run(batches, outer)[0]
    trace = failure(outcome).traceback

    assert trace.index("KeyError: 'inner'") < trace.index("direct cause") < trace.index("ValueError: outer")
    assert "in inner" in trace
    assert "covalab" not in trace.replace(str(Path(__file__)), "")
    assert outcome.stderr == "working\n" + trace
    assert failure(outcome).message == "outer"


def test_what_cannot_be_stored_fails_and_the_next_goes_on(batches: Batches) -> None:
    """A value that no pickle holds, or that takes its pickle down, is a failure with the node's name."""

    def generator() -> object:
        return (i for i in [1])

    def raises_when_pickled() -> object:
        class Sly:
            def __reduce__(self) -> str:
                sys.exit(1)

        return Sly()

    def fine() -> int:
        return 1

    outcomes = run(batches, generator, raises_when_pickled, fine)

    assert [failure(outcomes[node]).type for node in (0, 1)] == ["serialization"] * 2
    assert "electron 'generator' (node 0)" in failure(outcomes[0]).message
    assert value(outcomes[2]) == 1


def test_a_used_up_budget_gives_the_rest_back(batches: Batches) -> None:
    """The first node always runs; what has not begun in time has no outcome."""

    def slow() -> None:
        import time

        time.sleep(0.15)

    tasks, code = calls(slow, slow, slow, slow, slow)
    batches.add(*tasks, code=code, budget=0.2)
    batches.add(msgspec.structs.replace(tasks[0], node=9), code=code, budget=0.0)

    outcomes = batches.outcomes()

    assert {0, 9} <= set(outcomes)
    assert 3 not in outcomes


def test_a_mutable_value_is_handed_over_as_a_copy(batches: Batches) -> None:
    """What one task of a batch does to its input no other sees, small or large."""

    def makes() -> list[int]:
        return [1]

    def makes_large() -> Any:
        import numpy as np

        return np.zeros(100_000)

    def spoils(items: Any) -> int:
        items[0] = 99
        return len(items)

    def looks(items: Any) -> float:
        return float(items[0])

    tasks, code = calls(makes, makes_large, spoils, looks)
    small, large, spoil, look = tasks
    batches.add(
        small,
        large,
        *[
            msgspec.structs.replace(task, node=node, args=[Argument(node=source)], after=[source])
            for node, (task, source) in enumerate([(spoil, 0), (look, 0), (spoil, 1), (look, 1)], 2)
        ],
        code=code,
    )

    outcomes = batches.outcomes()

    assert [value(outcomes[node]) for node in (2, 3, 4, 5)] == [1, 1.0, 100_000, 0.0]


def test_inputs_are_put_together_from_all_their_kinds(batches: Batches) -> None:
    """Values, lists, dicts, blobs and earlier tasks of the batch, by position and by keyword."""

    def makes() -> int:
        return 5

    def shows(*args: Any, **kwargs: Any) -> str:
        return repr((args, sorted(kwargs.items())))

    (make, show), code = calls(makes, shows)
    from covalab.blobs import BlobStore

    blob = BlobStore(batches.folder / "blobs").serialize(np.arange(20_000))
    keys, values = Argument(items=[Argument(value=serialize_small("k"))]), Argument(items=[Argument(node=0)])
    args = [
        Argument(value=serialize_small(1)),
        Argument(items=[Argument(node=0), Argument(value=blob)]),
        Argument(node=0),
    ]
    batches.add(
        make,
        msgspec.structs.replace(show, args=args, kwargs={"d": Argument(pairs=(keys, values))}, after=[0]),
        code=code,
    )

    text = value(batches.outcomes()[1])

    assert text.startswith("((1, [5, array(")
    assert text.endswith("5), [('d', {'k': 5})])")


def test_order_holds_inside_a_batch(batches: Batches) -> None:
    """A task whose predecessor failed here, or never ran, is not begun."""

    def fails() -> None:
        raise ValueError

    def runs() -> None:
        pass

    tasks, code = calls(fails, runs, runs, runs)
    after = [[], [0], [1], []]
    batches.add(*[msgspec.structs.replace(task, after=a) for task, a in zip(tasks, after, strict=True)], code=code)

    assert {node: outcome.status for node, outcome in batches.outcomes().items()} == {0: "failed", 3: "completed"}


def test_a_missing_blob_fails_the_one_task_that_needs_it(batches: Batches) -> None:
    """The error says which input of which electron."""
    from covalab.core.model import Value

    def identity(x: object) -> object:
        return x

    (task, other), code = calls(identity, lambda: 1)
    gone = Argument(value=Value(100, "int", "", None, Digest("0" * 64)))
    batches.add(msgspec.structs.replace(task, args=[gone]), other, code=code)

    outcomes = batches.outcomes()

    assert failure(outcomes[0]).type == "storage"
    assert "0000" in failure(outcomes[0]).message
    assert value(outcomes[1]) == 1


def test_the_first_node_is_told_when_it_begins_and_a_slow_one_while_it_runs(batches: Batches) -> None:
    """So somebody knows whom to blame when the process dies."""

    def quick() -> None:
        pass

    def slow() -> None:
        import time

        time.sleep(0.5)

    tasks, code = calls(quick, quick, slow)
    batches.add(*tasks, code=code)
    messages = batches.run()

    begun = [message.node for message in messages if isinstance(message, TaskStarted)]
    assert isinstance(messages[0], TaskStarted)
    assert begun == [0, 2]
    assert isinstance(messages[1], Outcomes), "what has ended is told while the slow one still runs"


def test_times_are_in_order(batches: Batches) -> None:
    """No node ends before it began, or begins before the one before it ended."""

    def nothing() -> None:
        pass

    tasks, code = calls(*[nothing] * 20)
    batches.add(*tasks, code=code)
    outcomes = batches.outcomes()

    for node in range(20):
        assert outcomes[node].started_at <= outcomes[node].ended_at
        assert not node or outcomes[node - 1].started_at <= outcomes[node].started_at


@pytest.mark.parametrize(
    ("made", "is_same"),
    [(10**30, True), ((1, "a", None), True), (frozenset({1, 2}), True), ((1, [2]), False), ([1, 2], False)],
)
def test_only_what_nobody_can_change_is_handed_on_as_it_is(batches: Batches, made: Any, is_same: bool) -> None:
    """A value made earlier in the batch is the very object where that is safe, a copy of its own where not."""

    def makes() -> Any:
        sys.__dict__.setdefault("covalab_test_made", []).append(made)
        return made

    def takes(x: Any) -> Any:
        return x is sys.__dict__["covalab_test_made"][-1]

    (make, take), code = calls(makes, takes)
    batches.add(make, msgspec.structs.replace(take, args=[Argument(node=0)], after=[0]), code=code)
    try:
        assert value(batches.outcomes()[1]) is is_same
    finally:
        sys.__dict__.pop("covalab_test_made", None)
