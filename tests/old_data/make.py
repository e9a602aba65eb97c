"""Workflows of every kind, and the script that made the data folder from them.

Run once, with the covalab of commit 8c5dfc5 (schema 10) under CPython 3.11.7, from a folder that is on no machine, so
that what is pickled names no real path. In it are copies of the Python files of this folder, and links to the
environment and the package of that commit:

    cd /old
    env -i PATH=/usr/bin:/bin HOME=/old/home PYTHONPATH=/old/python /old/venv/bin/python /old/make.py

It leaves `schema-10_commit-8c5dfc5.tar.xz`, `expected.json` and `globals.txt` there. They are never made again: a later
covalab writes another folder. For a new schema, another archive is added beside this one.

The workflows are here and not in a module, because those of a notebook or a script are of ``__main__`` as well.
"""

# ruff: noqa: D101, D102, D103 - what a workflow has said about itself is a part of what is kept, and most say nothing
# ruff: noqa: PTH123, EM101, EM102 - they are written as people write them in notebooks
from __future__ import annotations

import ctypes
import time
from pathlib import Path
from typing import Any

import numpy as np
import oldmodule  # type: ignore[import-not-found]

import covalab as ct
from covalab.triggers import BaseTrigger

# What runs. Whatever does leaves a line in the file `witness` of the folder where it runs.


def note(word: str) -> None:
    with open("witness", "a") as file:
        file.write(f"{word}\n")


@ct.electron
def plus(x: Any, y: Any = 1) -> Any:
    note("plus")
    return x + y


@ct.electron
def total(values: list[int]) -> int:
    note("total")
    return sum(values)


@ct.electron
def pair(x: int) -> tuple[int, int]:
    """Return two."""
    note("pair")
    print("a pair of", x)
    return x, x + 1


@ct.electron
def large(n: int) -> Any:
    note("large")
    return {"array": np.arange(n) % 7, "text": "covalab " * n}


@ct.electron
def mean(thing: Any) -> float:
    note("mean")
    return float(thing["array"].mean())


class Broken(ValueError):
    """An exception of the notebook."""


@ct.electron
def breaking(x: int) -> int:
    note("breaking")
    raise Broken("broken", x)


@ct.electron
def gated(value: Any, gate: str = "go") -> Any:
    """Wait for a file, then return the value."""
    note(f"gated {gate}")
    Path(f"{gate}-began").touch()
    while not Path(gate).exists():
        time.sleep(0.02)
    return value


def third_time(name: str) -> int:
    note("third_time")
    with open(name, "a") as file:
        file.write("x")
    n = len(Path(name).read_text())
    if n < 3:
        raise Broken(f"run {n}")
    return n


def if_there(name: str) -> str:
    note("if_there")
    if not Path(name).exists():
        raise Broken(f"{name} is not there")
    return Path(name).read_text()


class Point:
    def __init__(self, x: int, y: int) -> None:
        self.x, self.y = x, y

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Point) and (self.x, self.y) == (other.x, other.y)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Point({self.x}, {self.y})"


@ct.electron
def point(x: int, y: int) -> Point:
    note("point")
    return Point(x, y)


@ct.electron
def matrix(n: int) -> Any:
    note("matrix")
    return np.arange(n * n).reshape(n, n)


class Here(ct.executor.BaseExecutor):
    """An executor of the notebook."""

    def run(self, function: Any, args: Any, kwargs: Any, task_metadata: Any) -> Any:
        return function(*args, **kwargs)


class AlsoHere(ct.executor.AsyncBaseExecutor):
    async def run(self, function: Any, args: Any, kwargs: Any, task_metadata: Any) -> Any:
        return function(*args, **kwargs)


class Never(BaseTrigger):
    """A trigger of the notebook."""

    def observe(self) -> None:
        return

    def stop(self) -> None:
        return


# The workflows.


@ct.lattice
def small(x: int, y: int = 2) -> Any:
    """Add twice."""
    return plus(plus(x), y)


@ct.lattice
def blob(n: int) -> Any:
    return mean(large(n))


@ct.lattice
def blob_returned(n: int) -> Any:
    return large(n)


@ct.lattice
def failing(x: int) -> Any:
    return plus(breaking(plus(x)))


@ct.lattice
def cancelled() -> Any:
    return plus(gated(1, "never"))


patient = ct.electron(third_time, retries=5, retry_delay=0, retry_on=[Broken, "storage"])
waiting_to_retry = ct.electron(if_there, retries=3, retry_delay=3600, retry_max_delay=3600, retry_jitter=0)


@ct.lattice
def retried() -> Any:
    return plus(patient("tries"))


@ct.electron
@ct.lattice
def part(first: int, n: int) -> Any:
    """Add up some."""
    return total([plus(x) for x in range(first, first + n)])


@ct.electron
@ct.lattice(deps_bash="echo from a part", retries=1, time_limit=60, retry_delay=0)
def parts(n: int) -> Any:
    return {"parts": [part(first, 2) for first in range(0, 2 * n, 2)], "n": n}


@ct.lattice(executor="dask")
def nested(n: int) -> Any:
    return parts(n)


def prepared(x: int) -> int:
    note("prepared")
    return 10 * x


def tidied(word: str) -> None:
    note(word)


@ct.lattice
def with_deps(x: int) -> Any:
    @ct.electron(
        deps_bash=ct.DepsBash(["echo from bash", "echo two"]),
        deps_pip=ct.DepsPip(packages=["msgspec"]),
        deps_module=ct.DepsModule(oldmodule),
        call_before=[ct.DepsCall(prepared, args=[4], retval_keyword="ready"), ct.DepsBash("echo before")],
        call_after=ct.DepsCall(tidied, kwargs={"word": "tidied"}),
    )
    def served(x: int, ready: int = 0) -> Any:
        import msgspec

        note("served")
        return oldmodule.twice(x) + ready, msgspec.json.encode([x])

    return served(x)


@ct.lattice
def with_files() -> Any:
    @ct.electron(
        files=[
            ct.fs.FileTransfer("in.txt", "copied.txt"),
            ct.fs.FileTransfer("made.txt", "out.txt", order=ct.fs.Order.AFTER, strategy=ct.fs_strategies.Shutil()),
        ]
    )
    def copying(files: Any = None) -> str:
        note("copying")
        text = Path("copied.txt").read_text()
        Path("made.txt").write_text(text.upper())
        return text

    return copying()


counting = ct.Lepton(
    "bash",
    command="n=$(echo $1 | wc -c); echo leptons >> witness",
    named_outputs=["n"],
    argtypes=[(str, ct.Lepton.INPUT), (int, ct.Lepton.OUTPUT)],
    display_name="count",
)
hypotenuse = ct.Lepton("python", library_name="math", function_name="hypot")
absolute = ct.Lepton(
    "C", library_name="libm.so.6", function_name="abs", argtypes=[(ctypes.c_int32, ct.Lepton.INPUT)], display_name="c"
)


@ct.leptons.bash
def greeting(name: str) -> str:
    return f"echo hello {name}; echo greeting >> witness"


@ct.lattice
def with_leptons(text: str) -> Any:
    return counting(text), hypotenuse(3, 4), greeting("you")


@ct.lattice
def operators(x: int) -> Any:
    first, second = pair(x)
    both = pair(x)
    there = point(first, both[1])
    one = matrix(3)[1, 0:2]
    last = total([first, second, there.x])
    ct.wait(last, one)
    return {"sum": (first + second) * 2 - there.y / 2, "power": both[0] ** 2, "row": one, "last": last, "set": {first}}


@ct.lattice(executor=ct.executor.LocalExecutor(), workflow_executor="local")
def executors(x: int) -> Any:
    adding: Any = plus.electron_object.function  # type: ignore[attr-defined]
    on_dask = ct.electron(adding, executor=ct.executor.DaskExecutor(workdir="there"))
    by_mine = ct.electron(adding, executor=Here(retries=1))
    by_async = ct.electron(adding, executor=AlsoHere())
    return plus(x) + 1, on_dask(x), by_mine(x), by_async(x)  # type: ignore[no-untyped-call]


@ct.lattice(
    executor=Here(),
    deps_bash="echo around",
    call_before=ct.DepsCall(tidied, args=["around"]),
    retries=2,
    retry_delay=1,
    time_limit=60,
)
def hooked(x: int) -> Any:
    """Have the value made by a worker."""
    return [plus(x), plus(x, y=5)]


@ct.lattice
def exhaustive(x: int, shift: int = 1) -> Any:
    first = plus(x)
    second = part(first, 2) + shift
    return first, {"second": second, "both": {first}}


@ct.lattice
def arguments(x: Any, rows: list[Any], by: int = 1) -> Any:
    return plus(plus(x, by), rows[1])


@ct.electron
def keeping(**values: Any) -> Any:
    note("keeping")
    return values


@ct.lattice
def everything(values: dict[str, Any]) -> Any:
    return keeping(**values)


@ct.electron
def saying(x: int) -> int:
    note("saying")
    ct.set_state("report", {"score": x, "by": Point(1, x)})
    ct.append_state("report.steps", "one")
    ct.append_state("report.steps", 2)
    ct.set_state("gone", 1)
    ct.del_state("gone")
    for item in ("first", Point(2, 2), np.arange(3)):
        ct.put_into_stream(item)
    ct.set_final_result({"final": Point(3, x)})
    return x


@ct.electron
def listening(x: Any, answer: Any) -> Any:
    note("listening")
    found = ct.get_interventions()
    for one in found:
        ct.mark_intervention_consumed(one["id"], note="heard")
    return x, answer, [one["payload"] for one in found]


@ct.lattice(intervention_mode="auto")
def live(x: int) -> Any:
    said = saying(x)
    answer = ct.pause_for("approval", payload={"x": said})
    return listening(said, answer)


@ct.lattice
def planned(x: int) -> Any:
    first = plus(x)
    answer = ct.pause_for("word")
    at = ct.intervention_point("here")
    last = listening(first, answer)
    ct.wait(at, answer)
    ct.wait(last, at)
    return last


@ct.lattice
def asking(x: int) -> Any:
    return plus(plus(x), ct.pause_for("number", payload=Point(x, x)))


@ct.lattice
def half_done(n: int) -> Any:
    done = [plus(x) for x in range(n)]
    rest = gated(n, "go")
    return total([*done, rest, plus(rest)])


@ct.electron
@ct.lattice
def slow_part(n: int) -> Any:
    return total([plus(n), gated(n, "part")])


@ct.lattice
def half_done_parts(n: int) -> Any:
    return plus(slow_part(n), part(0, n))


@ct.lattice
def to_be_retried() -> Any:
    return waiting_to_retry("there.txt")


def enqueued(x: int, y: int) -> int:
    note("enqueued")
    return x * y


if __name__ == "__main__":
    from driver import main  # type: ignore[import-not-found]

    main()
