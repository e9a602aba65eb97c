"""Two kernels of one Python: what the tasks of one notebook do to their process is not seen by those of the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.jupyter.kernels import Kernel, a_kernel
from tests.system.processes import dispatcher

SETUP = """
import covalab as ct
COUNT = {"n": 0}

@ct.electron
def look():
    import os, random, sys, time, warnings
    time.sleep(0.08)
    COUNT["n"] += 1
    seen = (COUNT["n"], os.environ.get("LEFT"), "/left" in sys.path, sys.getrecursionlimit(), warnings.filters[0][0])
    return seen, random.random()

@ct.electron
def change():
    import logging, os, random, sys, time, warnings
    time.sleep(0.08)
    COUNT["n"] = 100
    os.environ["LEFT"] = "1"
    sys.path.append("/left")
    sys.setrecursionlimit(777)
    warnings.simplefilter("error")
    logging.disable(logging.CRITICAL)
    random.seed(42)

@ct.lattice
def look_everywhere():
    return [look() for _ in range(4)]

@ct.lattice
def change_everywhere():
    return [change() for _ in range(4)]
"""
LOOK = "print(ct.dispatch_sync(look_everywhere)().result)"


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Kernel, Kernel]]:
    """Share two kernels of one dispatcher and pool."""
    folder = tmp_path_factory.mktemp("kernels")
    with dispatcher(folder / "data"), a_kernel() as one, a_kernel() as other:
        one.succeed(SETUP)
        other.succeed(SETUP)
        yield one, other


def look(kernel: Kernel) -> list[Any]:
    """Return what four tasks of a kernel see."""
    printed = kernel.succeed(LOOK).printed.splitlines()
    return list(eval(next(line for line in printed if line.startswith("["))))  # beside it: that COUNT was set again


def test_a_kernel_does_not_see_what_another_did(kernels: tuple[Kernel, Kernel]) -> None:
    """Before and after, in both, each task sees the same, and draws numbers of its own."""
    one, other = kernels
    before = look(one)
    one.succeed("assert str(ct.dispatch_sync(change_everywhere)().status) == 'COMPLETED'")
    after = [*look(other), *look(one), *look(other)]

    assert {seen for seen, _ in before} == {seen for seen, _ in after}
    assert len({seen for seen, _ in after}) == 1
    drawn = [number for _, number in [*before, *after]]
    assert len(set(drawn)) == len(drawn)


def test_a_restarted_kernel_begins_anew(kernels: tuple[Kernel, Kernel]) -> None:
    """Its tasks as well."""
    one, _ = kernels
    one.succeed("ct.dispatch_sync(change_everywhere)()")
    one.succeed("%reset -f")
    one.succeed(SETUP)

    assert {seen[:3] for seen, _ in look(one)} == {(1, None, False)}


def test_running_a_definition_again_gives_its_new_value(kernels: tuple[Kernel, Kernel]) -> None:
    """The tasks have the value that the notebook has now, not what became of it elsewhere."""
    one, _ = kernels
    look(one)
    one.succeed("COUNT = {'n': 10}")
    assert [seen[0] for seen, _ in look(one)] == [11] * 4
    one.succeed("COUNT['n'] = 20")
    assert [seen[0] for seen, _ in look(one)] == [21] * 4
    assert one.succeed("print(COUNT)").printed == "{'n': 20}\n"


def test_cells_that_are_run_again_start_anew(kernels: tuple[Kernel, Kernel], tmp_path: Path) -> None:
    """A cell with a mutable default and a class that counts, run in turn by two kernels."""
    code = """
class Counting:
    n = 0

@ct.electron
def count(seen=[]):
    seen.append(1)
    Counting.n += 1
    return len(seen), Counting.n

print([ct.dispatch_sync(ct.lattice(count))().result for _ in range(3)])
"""
    printed = [kernel.succeed(code).printed for kernel in (*kernels, *kernels)]

    assert len(set(printed)) == 1
    first = list(eval(printed[0]))
    assert [list(pair) for pair in first] == [[1, 1]] * 3
