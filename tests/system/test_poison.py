"""A task that does the worst to its process fails alone, says why, and leaves nothing behind.

Each kind runs beside six innocent tasks of the same dispatch, while another dispatch of thirty is running. Kinds that
reach no other process do so all at once, each in a dispatch of its own; those that take what processes share, or end
the process of others, one after the other: others would run twice.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.jupyter.runs.notebooks import write
from tests.system.poison_kinds import ALONE, PRINTING, TOGETHER, Kind, returning_twice
from tests.system.processes import Sampler, alive, described, dispatcher, noted, settle, steady
from tests.system.tasks import runs
from tests.waiting import until

import covalab as ct
from covalab.client import Client

MEMORY = "500 MB"
DISK = 256 * 2**20  # a child writes so much between two looks at its output
GROWTH = 100 * 2**20
N_BYTES = 230_000_000  # two of these and the process are more than a worker may use


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Share one dispatcher and pool, whose workers may take half a gigabyte."""
    with dispatcher(tmp_path_factory.mktemp("poison") / "data", COVALAB_MEM_PER_WORKER=MEMORY) as client:
        assert ct.dispatch_sync(ct.lattice(innocent))(2, os.devnull).result == 4
        yield client


@pytest.fixture(scope="module")
def n_processes(client: Client) -> int:
    """Return how many processes there are when nothing runs: as many as before any poison."""
    return steady(client.data_dir)


@ct.electron
def innocent(x: int, witness: str, seconds: float = 0.02) -> int:
    """Say that it ran, take a while, return the square."""
    with open(witness, "a") as file:  # noqa: PTH123 - O_APPEND, one short line: atomic
        file.write(f"{x}\n")
    time.sleep(seconds)
    return x * x


@ct.lattice
def thirty(witness: str) -> Any:
    """Run thirty innocent tasks side by side."""
    return [innocent(x, witness) for x in range(30)]


def begun(kind: Kind, folder: Path) -> str:
    """Dispatch a poison amid six innocent tasks, from a folder that it may remove."""
    task = kind.task

    @ct.lattice
    def seven(folder: str, witness: str) -> Any:
        before = [innocent(x, witness) for x in range(3)]
        poison = task(folder)
        return before, poison, [innocent(x, witness) for x in range(3, 6)]

    here = folder / "here"
    here.mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        return str(ct.dispatch(seven)(str(folder), str(folder / "witness")))


class Ended(NamedTuple):
    """What is there after poisons and the thirty have ended."""

    many: str
    dispatches: dict[str, str]
    """By the name of the kind."""
    sampler: Sampler


def poisoned(client: Client, kinds: list[Kind], folder: Path) -> Ended:
    """Run poisons, and thirty innocent tasks at the same time, to the end."""
    whole_family = any(kind.task in PRINTING for kind in kinds)
    with Sampler(client, whole_family=whole_family) as sampler:
        many = str(ct.dispatch(thirty)(str(folder / "witness of thirty")))
        dispatches = {str(kind): begun(kind, folder / str(kind)) for kind in kinds}
        try:
            for dispatch in [*dispatches.values(), many]:
                ct.get_result(dispatch, wait=True, timeout=240)
        finally:
            for dispatch in [*dispatches.values(), many]:
                ct.cancel(dispatch)
    return Ended(many, dispatches, sampler)


@pytest.fixture(scope="module")
def folder_of_all(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the kinds that run at once."""
    return tmp_path_factory.mktemp("all")


@pytest.fixture(scope="module")
def all_ended(client: Client, n_processes: int, folder_of_all: Path) -> Ended:
    """Run all kinds that reach no other process at once."""
    return poisoned(client, TOGETHER, folder_of_all)


@pytest.mark.parametrize("kind", TOGETHER, ids=str)
def test_of_many_poisons_each_fails_alone(kind: Kind, client: Client, all_ended: Ended, folder_of_all: Path) -> None:
    """It has the right error after exactly its attempts; the others ran once."""
    _check_what_ran(client, all_ended.dispatches[str(kind)], kind, folder_of_all / str(kind))


def test_many_poisons_leave_nothing_behind(
    client: Client, all_ended: Ended, n_processes: int, folder_of_all: Path
) -> None:
    """What ran at the same time has run once, and all that is left are the processes that there were before."""
    _check_the_thirty(client, all_ended, folder_of_all)
    _check_what_it_took(all_ended.sampler)
    _check_nothing_is_left(client, [folder_of_all / str(kind) for kind in TOGETHER], n_processes)
    assert ct.dispatch_sync(ct.lattice(innocent))(3, os.devnull).result == 9


@pytest.mark.parametrize("kind", ALONE, ids=str)
@pytest.mark.timeout(120)
def test_only_the_poison_fails(kind: Kind, client: Client, n_processes: int, tmp_path: Path) -> None:
    """It has the right error after exactly its attempts; the others ran once; nothing of it is left."""
    ended = poisoned(client, [kind], tmp_path)

    _check_the_thirty(client, ended, tmp_path)
    _check_what_ran(client, ended.dispatches[str(kind)], kind, tmp_path / str(kind))
    _check_what_it_took(ended.sampler)
    _check_nothing_is_left(client, [tmp_path / str(kind)], n_processes)
    assert ct.dispatch_sync(ct.lattice(innocent))(3, os.devnull).result == 9


def _check_the_thirty(client: Client, ended: Ended, folder: Path) -> None:
    _check_the_others(client, ended.many, "innocent", 30)
    assert ct.get_result(ended.many).result == [x * x for x in range(30)]
    assert runs(folder / "witness of thirty") == {str(x): 1 for x in range(30)}


def _check_what_ran(client: Client, dispatch: str, kind: Kind, folder: Path) -> None:
    result = ct.get_result(dispatch)
    _check_the_others(client, dispatch, "innocent", 6)
    _check_the_poison(client, dispatch, kind)
    assert str(result.status) in (("FAILED" if kind.type else "COMPLETED"), "COMPLETED" if kind.may_complete else "")
    assert runs(folder / "witness") == {str(x): 1 for x in range(6)}
    if kind.task is returning_twice:
        assert result.result[1] == "parent"


def _check_the_others(client: Client, dispatch: str, name: str, n: int) -> None:
    nodes = client.graph(dispatch).nodes
    details = [client.node(dispatch, number) for number, node in enumerate(nodes) if node.name == name]
    seen = [(it.status, it.attempt, it.failure.message if it.failure else "") for it in details]
    assert seen == [("completed", 1, "")] * n


def _check_the_poison(client: Client, dispatch: str, kind: Kind) -> None:
    node = next(n for n, it in enumerate(client.graph(dispatch).nodes) if it.name == str(kind))
    detail = client.node(dispatch, node)
    shown = ct.get_result(dispatch).get_node_result(node)
    if not kind.type or (kind.may_complete and detail.status == "completed"):
        assert (detail.status, detail.failure) == ("completed", None)
        assert detail.attempt == 1 or kind.may_complete
        assert shown["error"] in (None, "")
        return
    assert detail.failure is not None, detail.status
    assert (detail.failure.type, detail.attempt, detail.status) == (kind.type, kind.attempts, "failed")
    assert [attempt.outcome.failure.type for attempt in detail.attempts if attempt.outcome.failure] == [kind.type] * (
        kind.attempts - 1
    )
    assert re.search(kind.says, detail.failure.message, re.DOTALL), detail.failure.message
    assert detail.failure.message in shown["error"] or detail.failure.exception in shown["error"]


def _check_what_it_took(sampler: Sampler) -> None:
    most, before = sampler.most, sampler.before
    assert most.spool < DISK
    assert most.dispatcher < before.dispatcher + GROWTH
    assert most.pool < before.pool + GROWTH
    assert most.largest <= before.largest + GROWTH  # both 0 if the family was not looked at


def _check_nothing_is_left(client: Client, folders: list[Path], n_processes: int) -> None:
    keys = {key for folder in folders for key in noted(folder)}
    deadline = time.monotonic() + 5
    while left := alive(keys):
        assert time.monotonic() < deadline, f"left behind:\n{described(left)}"
        time.sleep(0.02)
    settle(client.data_dir, n_processes)


@pytest.mark.parametrize("task", PRINTING, ids=lambda it: it.__name__)
def test_the_first_and_last_part_of_much_output_are_kept(task: Any, client: Client, tmp_path: Path) -> None:
    """It says how much was cut in between; what is recorded is a few megabytes at most, and others go on meanwhile."""
    kind = Kind(task, "", 1)
    ended = poisoned(client, [kind], tmp_path)

    _check_the_thirty(client, ended, tmp_path)
    _check_what_ran(client, ended.dispatches[str(kind)], kind, tmp_path / str(kind))
    _check_what_it_took(ended.sampler)
    result = ct.get_result(ended.dispatches[str(kind)])
    node = next(n for n, it in enumerate(client.graph(result.dispatch_id).nodes) if it.name == str(kind))
    text = result.get_node_result(node)["stdout"]
    assert text.startswith("the beginning\n")
    assert text.endswith("the end\n")
    assert len(text) < 5 * 2**20
    said = re.search(r"([\d,]+) bytes left out", text)
    assert said is not None
    assert abs(int(said[1].replace(",", "")) + len(text) - PRINTING[task]) < 2**20


def test_cells_side_by_side_that_need_too_much_memory_together_run_one_after_the_other(
    client: Client, tmp_path: Path
) -> None:
    """Each alone may have what it needs: the one that began early is ended, and runs in its turn."""
    first = (
        f"a = b'x' * {N_BYTES}\nimport os, time\n"
        "def below(pid):\n    return [int(one) for one in open(f'/proc/{pid}/task/{pid}/children').read().split()]\n"
        "while not any(below(one) for one in below(os.getpid())): time.sleep(0.01)\n"
        "while any(below(one) for one in below(os.getpid())): time.sleep(0.01)\na = None"
    )
    second = {"tags": ["parallel"]}
    path = write(tmp_path / "two.ipynb", first, (f"b = b'y' * {N_BYTES}\nsum(b[:100_000_000])\nlen(b)", second))

    run = ct.run_notebook(path, check=False)

    assert str(ct.get_result(run, wait=True, timeout=120).status) == "COMPLETED"
    notebook = client.submission(run).notebook
    assert notebook is not None
    about = client.node(run, notebook.cells[1].node).reuse
    assert about is not None
    assert "its process was ended by signal 9" in "; ".join(about.reasons)
    assert ct.get_result(run).result == N_BYTES


def test_output_that_is_cut_can_be_read_while_it_is_printed(client: Client, tmp_path: Path) -> None:
    """The first part is there at once, the last part is what was printed last, and the disk does not fill."""

    @ct.electron
    def endless(folder: str) -> None:
        print("the beginning", flush=True)
        n = 0
        while True:
            n += 1
            os.write(1, f"line {n}\n".encode() + b"x" * 100_000 + b"\n")
            if n == 1000:
                (Path(folder) / "many").touch()

    with Sampler(client, whole_family=False) as sampler:
        dispatch = ct.dispatch(ct.lattice(endless))(str(tmp_path))
        try:
            until((tmp_path / "many").exists)
            text = client.node(dispatch, 0).stdout
            time.sleep(1)
            later = client.node(dispatch, 0).stdout
        finally:
            ct.cancel(dispatch)
            ct.get_result(dispatch, wait=True, timeout=120)

    assert text.startswith("the beginning\nline 1\n")
    assert later.startswith("the beginning\nline 1\n")
    last = [int(re.findall(r"line (\d+)", one)[-1]) for one in (text, later)]
    assert 900 < last[0] < last[1]
    assert sampler.most.spool < DISK
